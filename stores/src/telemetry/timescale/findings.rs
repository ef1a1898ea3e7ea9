//! What works, or seems to, and will hurt: seen in the server's own records.

use super::{connect::Server, fault::failed, policies::Found};
use crate::{Finding, Result};
use sea_orm::sqlx::{self, PgPool, Row};

/// From this release of PostgreSQL 15 on, jobs of TimescaleDB do their work and are recorded as failed.
const RECORDED_AS_FAILED: i32 = 150_020;
/// Workers that a scheduler needs to get anything done: itself, and one for a job.
const WORKERS_A_DATABASE: i64 = 2;
/// Stale hours that a healthy worker never lets come together: those of two days.
const BACKLOG: i64 = 48;

/// What to tell about TimescaleDB.
pub async fn of_extension(pool: &PgPool, server: &Server, jobs: &[Found]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(failing(pool, server, jobs).await?);
    let sql = "SELECT current_setting('timescaledb.max_background_workers')::bigint, \
               current_setting('max_worker_processes')::bigint, current_setting('max_parallel_workers')::bigint, \
               (SELECT count(DISTINCT datid) FROM pg_stat_activity \
               WHERE backend_type ILIKE '%timescaledb background worker scheduler%')";
    let row = sqlx::query(sql).fetch_one(pool).await.map_err(failed)?;
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(failed);
    findings.extend(workers(number(0)?, number(1)?, number(2)?, number(3)?));
    Ok(findings)
}

async fn failing(pool: &PgPool, server: &Server, jobs: &[Found]) -> Result<Option<Finding>> {
    let failures: i64 = jobs.iter().map(Found::failures).sum();
    if failures == 0 {
        return Ok(None);
    }
    // Only an owner of the jobs may read this view; who may not gets no rows.
    let sql = "SELECT count(*) FROM timescaledb_information.job_errors WHERE err_message ILIKE '%cannot drop%portal%'";
    let portals: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.map_err(failed)?;
    Ok(Some(describe_failures(failures, portals > 0, server)))
}

fn describe_failures(failures: i64, portals: bool, server: &Server) -> Finding {
    let known = portals || (RECORDED_AS_FAILED..160_000).contains(&server.version);
    if known {
        return Finding::new(
            format!("jobs of TimescaleDB did their work and were recorded as failed {failures} times"),
            "this release of PostgreSQL and this TimescaleDB do not go together (`cannot drop portal`): use PostgreSQL \
             15.18, or a TimescaleDB that was made for this release",
        );
    }
    Finding::new(format!("jobs of TimescaleDB failed {failures} times"), "look at timescaledb_information.job_errors")
}

fn workers(workers: i64, processes: i64, parallel: i64, databases: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let needed = databases.max(1) * WORKERS_A_DATABASE;
    if workers < needed {
        findings.push(Finding::new(
            format!("{databases} databases share {workers} background workers of TimescaleDB: jobs will starve"),
            format!("raise `timescaledb.max_background_workers` to {needed} or more, and restart the server"),
        ));
    }
    let needed = workers + parallel + 3;
    if processes < needed {
        findings.push(Finding::new(
            format!("the server may start {processes} worker processes and has promised {needed}: jobs may starve"),
            format!("raise `max_worker_processes` to {needed}, and restart the server"),
        ));
    }
    findings
}

/// What to tell about either flavour.
pub async fn of_roll_ups(pool: &PgPool) -> Result<Vec<Finding>> {
    let stale: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT hour) FROM stale").fetch_one(pool).await.map_err(failed)?;
    if stale <= BACKLOG {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        format!("{stale} hours of events are not rolled up yet: statistics over them are right and slow"),
        "this passes by itself after an import; if it does not, look in the log for what keeps the roll-ups",
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: i32) -> Server {
        Server { version, extension: None, preloaded: true, installable: true, has_schema: true }
    }

    #[test]
    fn too_few_workers_are_told_with_the_number_to_set() {
        assert!(workers(16, 27, 8, 1).is_empty());
        let told = workers(8, 8, 8, 5);
        assert!(told[0].advice.contains("to 10 or more") && told[1].advice.contains("to 19"), "{told:?}");
    }

    #[test]
    fn jobs_that_are_only_recorded_as_failed_are_recognised() {
        for (version, portals, known) in
            [(150_020, false, true), (150_018, true, true), (150_018, false, false), (170_000, false, false)]
        {
            let finding = describe_failures(3, portals, &server(version));
            assert_eq!(finding.advice.contains("cannot drop portal"), known, "{version} {portals}");
        }
    }
}
