//! What can go wrong with a query, and what its user can do about it.

use datafusion::error::DataFusionError;

/// Result of a query.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The record cannot be read.
    #[error(transparent)]
    Store(#[from] whodid_store::Error),
    /// The plan cannot be made or run.
    #[error("the query cannot be run: {0}")]
    Plan(#[source] DataFusionError),
    /// A question takes more memory than it may have.
    #[error("it takes more memory than a query may have; narrow it by time, cluster or namespace")]
    TooLarge,
    /// A count was not done when its time was over; of a part of it nothing can be said.
    #[error("it takes too long to count; narrow the query by time, cluster or namespace")]
    TooLong,
    /// A column is not of its type.
    #[error("the query cannot be run: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A statement in SQL makes no sense, would change something, or takes too much.
    #[error("{0}")]
    Sql(String),
    /// A text to search for is longer than can be searched for at once.
    #[error("the words are too many to search for at once; search for a part of them")]
    TooManyWords,
    /// A count has more kinds than an overview.
    #[error(
        "that would be more than {max} counts; take longer spans, or narrow the query by time",
        max = crate::COUNTS_MAX
    )]
    TooManyCounts,
    /// An event that was asked for is not there.
    #[error("there is no event {0}")]
    NoEvent(crate::EventId),
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Error::TooLarge,
            _ => Error::Plan(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_much_memory_is_told_from_what_cannot_be_run() {
        let exhausted = || DataFusionError::ResourcesExhausted("no more".into());
        for (error, is_too_large) in [
            (exhausted(), true),
            (exhausted().context("sorting"), true),
            (DataFusionError::External(Box::new(exhausted())), true),
            (DataFusionError::Plan("no such column".into()), false),
        ] {
            let error = Error::from(error);
            assert_eq!(matches!(error, Error::TooLarge), is_too_large, "{error}");
        }
    }
}
