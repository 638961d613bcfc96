//! The JSON Schema of reports.
//!
//! Pure: no I/O, no clock.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Report;

/// Returns the schema (draft 2020-12) that the reports of all commands follow; `docs/report.schema.json` holds it.
///
/// It allows fields that it does not name, so that documents of later minor versions follow it too. What was added
/// after 0.1 is not required, so that older documents follow it.
pub(crate) fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<Report>().to_value()
}
