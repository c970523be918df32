//! What can go wrong with a query, and what its user can do about it.

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
    Plan(#[from] datafusion::error::DataFusionError),
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
