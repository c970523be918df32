//! Rows of one table that pass a filter, all of them or the newest: the plan is made by hand, as a
//! planner takes longer to come to the same than most searches take to run. What is read of which
//! files, [`crate::table`] says.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, execute_stream};
use futures::StreamExt;

use crate::table::{Chosen, SnapshotTable};

/// Which comes first, the newest first: a column, and whether its greatest does.
const NEWEST: [(&str, bool); 3] = [("time", true), ("cluster", false), ("seq", true)];

/// Rows of a table that pass a filter, not read yet.
pub(crate) struct Passing {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl Passing {
    /// Those of a table, with these columns of it.
    pub(crate) async fn of(
        state: &SessionState,
        table: &SnapshotTable,
        filter: Expr,
        columns: &[&str],
    ) -> Result<Self> {
        let chosen = table.choose(state, std::slice::from_ref(&filter)).await?;
        Self::chosen(state, table, chosen, filter, columns)
    }

    /// Those of a table, of which it is known what to read.
    pub(crate) fn chosen(
        state: &SessionState,
        table: &SnapshotTable,
        chosen: Chosen,
        filter: Expr,
        columns: &[&str],
    ) -> Result<Self> {
        let schema = table.schema();
        let fields = schema.fields().iter().enumerate();
        let asked = fields.filter(|(_, field)| columns.contains(&field.name().as_str()));
        let asked = asked.map(|(at, _)| at).collect();
        let filters = split_conjunction_owned(filter);
        let rows = table.read(state, chosen, Some(&asked), &filters)?;
        // Whoever waits for it may want to give up.
        let plan = Arc::new(CooperativeExec::new(rows));
        Ok(Passing { plan, context: Arc::new(TaskContext::from(state)) })
    }

    /// The newest so many, the newest first; `time`, `cluster` and `seq` are among their columns.
    pub(crate) fn newest(self, limit: usize) -> Result<Self> {
        let schema = self.plan.schema();
        let by = |(name, descending): (&str, bool)| -> Result<PhysicalSortExpr> {
            let options = SortOptions { descending, nulls_first: false };
            Ok(PhysicalSortExpr::new(col(name, &schema)?, options))
        };
        let Some(order) = LexOrdering::new(NEWEST.map(by).into_iter().collect::<Result<Vec<_>>>()?)
        else {
            return Ok(self);
        };
        let parts = self.plan.output_partitioning().partition_count();
        let sorted = SortExec::new(order.clone(), self.plan).with_fetch(Some(limit));
        let sorted = Arc::new(sorted.with_preserve_partitioning(true));
        let plan: Arc<dyn ExecutionPlan> = if parts > 1 {
            Arc::new(SortPreservingMergeExec::new(order, sorted).with_fetch(Some(limit)))
        } else {
            sorted
        };
        Ok(Passing { plan, ..self })
    }

    /// Reads them.
    pub(crate) async fn collect(self) -> Result<Vec<RecordBatch>> {
        collect(self.plan, self.context).await
    }

    /// How many they are; of more than `most` it is not counted by how many.
    pub(crate) async fn count(self, most: usize) -> Result<usize> {
        let mut batches = execute_stream(self.plan, self.context)?;
        let mut count = 0;
        while count <= most {
            let Some(batch) = batches.next().await.transpose()? else { break };
            count += batch.num_rows();
        }
        Ok(count)
    }
}

/// A filter of a table in the simplest form that is known of it.
pub(crate) fn simplified(
    state: &SessionState,
    table: &SnapshotTable,
    filter: Expr,
) -> Result<Expr> {
    let schema = Arc::new(DFSchema::try_from(table.schema())?);
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(&schema))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.simplify(simplifier.coerce(filter, &schema)?)
}
