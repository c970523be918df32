//! The views that a statement can name, and the session that knows them. What a view shows is
//! `docs/sql.md`'s to say; what reads it is [`crate::table`].

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, BinaryArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::common::cast::as_binary_array;
use datafusion::common::config::Dialect;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarUDF, UNNAMED_TABLE, Volatility, create_udf,
};
use uuid::Uuid;
use uuid::fmt::Hyphenated;
use whodid_store::{Snapshot, Table};

use super::utc;
use crate::cache::Cache;
use crate::filter::column;
use crate::narrow::Distinct;
use crate::runtime::runtime;
use crate::table::SnapshotTable;

/// What is changed on purpose, and worked: the last stage of each request, with its bodies.
const CHANGES: &str = "\
    SELECT e.cluster, e.seq, e.time, e.actor, e.actor_kind, e.action, e.gvr, e.namespace, e.name, \
           e.object, e.code, e.tool, e.audit_id, e.request_uri, q.json AS request, \
           r.json AS response \
      FROM events e \
      LEFT JOIN bodies q \
        ON q.cluster = e.cluster AND q.seq = e.seq AND q.member = 'requestObject' \
      LEFT JOIN bodies r \
        ON r.cluster = e.cluster AND r.seq = e.seq AND r.member = 'responseObject' \
     WHERE e.stage = 'ResponseComplete' AND e.outcome = 'success' AND NOT e.duplicate \
       AND (e.dry_run IS DISTINCT FROM true) \
       AND e.verb IN ('create', 'update', 'patch', 'delete', 'deletecollection') \
       AND e.action NOT IN ('review', 'token')";
const CHANGES_NAME: &str = "changes";

/// So many events are named one by one.
const FEW_EVENTS: usize = 5_000;
const FEW_EVENTS_BYTES: usize = 16 << 20;

/// What all sessions have, the functions among it: copied sooner than made.
static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new().with_information_schema(true);
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    // A scan of bodies is told which events they are wanted of, if these are so few.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.hash_join_inlist_pushdown_max_distinct_values = FEW_EVENTS;
    optimizer.hash_join_inlist_pushdown_max_size = FEW_EVENTS_BYTES;
    let functions = SessionStateDefaults::default_scalar_functions().into_iter();
    let functions = functions.chain([Arc::new(utc::truncate())]);
    SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_scalar_functions(functions.collect())
        .with_physical_optimizer_rule(Arc::new(Distinct))
        .build()
});

/// A session that has the views, and nothing else.
pub(super) fn session(snapshot: &Snapshot, cache: &Cache, memory: usize) -> Result<SessionContext> {
    let views = Views { snapshot: snapshot.clone(), cache: cache.clone() };
    views.session(runtime(snapshot, memory)?)
}

/// The views of a snapshot, each made when a statement names it: most name one.
#[derive(Clone)]
struct Views {
    snapshot: Snapshot,
    cache: Cache,
}

impl Views {
    fn session(self, runtime: Arc<RuntimeEnv>) -> Result<SessionContext> {
        let names = &STATE.config_options().catalog;
        let (catalog, catalogs) = (MemoryCatalogProvider::new(), MemoryCatalogProviderList::new());
        catalog.register_schema(&names.default_schema, Arc::new(self))?;
        catalogs.register_catalog(names.default_catalog.clone(), Arc::new(catalog));
        let state = SessionStateBuilder::new_from_existing(STATE.clone())
            .with_catalog_list(Arc::new(catalogs))
            .with_runtime_env(runtime)
            .build();
        Ok(SessionContext::new_with_state(state))
    }

    /// A table as it is stored, of these columns.
    fn stored(&self, table: Table, shown: fn(&str) -> Option<Expr>) -> Result<ViewTable> {
        let table = SnapshotTable::new(table, self.snapshot.clone(), self.cache.clone());
        let schema = table.schema();
        let columns = schema.fields().iter().filter_map(|field| shown(field.name()));
        let scan =
            LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(Arc::new(table)), None);
        Ok(ViewTable::new(scan?.project(columns.collect::<Vec<_>>())?.build()?, None))
    }

    async fn changes(&self) -> Result<ViewTable> {
        let context = self.clone().session(Arc::default())?;
        Ok(ViewTable::new(context.sql(CHANGES).await?.into_unoptimized_plan(), None))
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let names = [Table::Events.name(), Table::Bodies.name(), CHANGES_NAME];
        names.map(str::to_owned).into()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let view = match name {
            CHANGES_NAME => self.changes().await?,
            name if name == Table::Events.name() => self.stored(Table::Events, shown)?,
            name if name == Table::Bodies.name() => {
                self.stored(Table::Bodies, |name| Some(column(name)))?
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(view)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// How a column is shown: audit IDs are text, whichever way they are stored.
fn shown(name: &str) -> Option<Expr> {
    match name {
        "audit_id" => {
            let text = uuid_text().call(vec![column("audit_id")]);
            let id = datafusion::prelude::coalesce(vec![text, column("audit_id_text")]);
            Some(id.alias("audit_id"))
        }
        "audit_id_text" => None,
        name => Some(column(name)),
    }
}

/// The text of a UUID that is stored as 16 bytes.
fn uuid_text() -> ScalarUDF {
    let text = |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let texts = match arrays.first() {
            Some(ids) => uuids(as_binary_array(ids)?),
            None => StringArray::new_null(0),
        };
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    let (bytes, text_type) = (vec![DataType::Binary], DataType::Utf8);
    create_udf("uuid_text", bytes, text_type, Volatility::Immutable, Arc::new(text))
}

fn uuids(ids: &BinaryArray) -> StringArray {
    let mut texts = StringBuilder::with_capacity(ids.len(), ids.len() * Hyphenated::LENGTH);
    let mut buffer = Uuid::encode_buffer();
    for id in ids {
        let id = id.and_then(|bytes| Uuid::from_slice(bytes).ok());
        texts.append_option(id.map(|id| &*id.hyphenated().encode_lower(&mut buffer)));
    }
    texts.finish()
}
