//! The door to the seven stores.
