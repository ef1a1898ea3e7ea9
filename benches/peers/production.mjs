// Says that this is production, before any library is loaded that looks: each server imports this file first.

process.env.NODE_ENV = 'production';
process.env.GRAPHILE_ENV = 'production';
