//! Batches whose items succeed or fail each on its own: what could be read goes to the store, what could not keeps its
//! place in the answer as null with an error that names its index.

use super::{Outcome, Refusal, UserError, input::path};
use chimera_stores::StoreError;

/// Items on their way to a store.
pub struct Batch<T> {
    /// What could be read, in order.
    pub good: Vec<T>,
    /// For each item of the argument, why it was refused; empty when it is in `good`.
    refused: Vec<Vec<UserError>>,
}

impl<T> Batch<T> {
    /// Parts what could be read from what could not.
    ///
    /// # Errors
    /// The first item's that is not the caller's doing.
    pub fn read(items: impl IntoIterator<Item = Outcome<T>>) -> Outcome<Self> {
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Ok(item) => {
                    good.push(item);
                    refused.push(Vec::new());
                }
                Err(Refusal::User(errors)) => refused.push(errors),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { good, refused })
    }

    /// Puts each answer of the store, one for each good item, in its item's place in the argument at `field`.
    ///
    /// # Errors
    /// The first answer's that is not the caller's doing.
    pub fn answer<U>(
        self,
        field: &[&str],
        answers: Vec<Result<U, StoreError>>,
    ) -> Outcome<(Vec<Option<U>>, Vec<UserError>)> {
        let mut answers = answers.into_iter();
        let (mut results, mut errors) = (Vec::with_capacity(self.refused.len()), Vec::new());
        for (index, refused) in self.refused.into_iter().enumerate() {
            let answer = if refused.is_empty() { answers.next() } else { None };
            errors.extend(refused);
            match answer.map(|answer| answer.map_err(Refusal::from)) {
                Some(Ok(answer)) => results.push(Some(answer)),
                Some(Err(Refusal::User(refused))) => {
                    results.push(None);
                    errors.extend(refused.into_iter().map(|error| within(error, field, index)));
                }
                Some(Err(error)) => return Err(error),
                None => results.push(None),
            }
        }
        Ok((results, errors))
    }
}

/// The error about the item with this index.
fn within(mut error: UserError, field: &[&str], index: usize) -> UserError {
    let mut place = path(field);
    place.push(index.to_string());
    error.field = Some(place);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::mutations::UserErrorCode;
    use chimera_stores::{ErrorKind, Store};

    fn user<T>(message: &str) -> Outcome<T> {
        Err(UserError::invalid(&["input", "tasks", "1", "queue"], message).into())
    }

    #[test]
    fn every_answer_stands_where_its_item_stood() {
        let batch = Batch::read([Ok('a'), user("bad"), Ok('b'), Ok('c')]);
        let Ok(batch) = batch else { panic!("only the caller erred") };
        assert_eq!(batch.good, ['a', 'b', 'c']);
        let lost = StoreError::conflict(Store::Episodic, "the hold is lost");
        let Ok((results, errors)) = batch.answer(&["input", "tasks"], vec![Ok(1), Err(lost), Ok(3)]) else {
            panic!("only the caller erred")
        };
        assert_eq!(results, [Some(1), None, None, Some(3)]);
        let found: Vec<_> = errors.iter().map(|error| (error.code, error.field.clone().unwrap_or_default())).collect();
        assert_eq!(found[0], (UserErrorCode::Invalid, path(&["input", "tasks", "1", "queue"])));
        assert_eq!(found[1], (UserErrorCode::Conflict, path(&["input", "tasks", "2"])));
    }

    #[test]
    fn a_fault_of_the_store_is_an_error_of_the_field() {
        let Ok(batch) = Batch::read([Ok('a')]) else { panic!("nothing is wrong yet") };
        let down = StoreError::new(Store::Episodic, ErrorKind::Unavailable, "down");
        assert!(matches!(batch.answer::<u8>(&["input"], vec![Err(down)]), Err(Refusal::Error(_))));
    }
}
