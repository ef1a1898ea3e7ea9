//! The cases of the episodic port, and the adapters they run on.
//!
//! Cases know only the handle, and nothing that a store on another machine could not do: time passes through the
//! world's clock, and what an answer may leave open (the ends of a page, the jitter of a back-off) is left open here.

mod conversation;
mod counting;
mod deduplication;
mod listing;
mod queue;
mod settling;
mod sharing;
mod steering;

use crate::{Adapter, Case, World, servers};
use chimera_stores::{
    Address, ErrorKind, Guard, ManualClock, Result, Store,
    episodic::{EmbeddedEpisodic, Episodic, Held, NewTask, Outcome, RedisEpisodic, Task},
};
use chrono::TimeDelta;
use std::{fmt::Debug, path::Path, sync::Arc, time::Duration};
use test_servers::Redis;
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Episodic>] = &[
    Adapter {
        name: "embedded",
        found: || true,
        open: |folder, clock| {
            Box::pin(async move {
                let open = move || EmbeddedEpisodic::open(&folder.join("episodic.redb"), clock);
                let adapter = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
                Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter))
            })
        },
    },
    Adapter {
        name: "redis",
        found: Redis::found,
        open: |folder, clock| Box::pin(async move { redis(servers::redis(), &folder, clock).await }),
    },
    Adapter {
        name: "redis-cluster",
        found: Redis::found,
        open: |folder, clock| Box::pin(async move { redis(servers::redis_cluster(), &folder, clock).await }),
    },
];

/// A store of a key prefix of its own on the server at `url`.
async fn redis(url: String, folder: &Path, clock: Arc<ManualClock>) -> Episodic {
    let adapter = RedisEpisodic::open(&Address::new(url), &servers::name(folder), clock).await.unwrap();
    Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter))
}

macro_rules! cases {
    ($($module:ident::{$($case:ident),* $(,)?}),* $(,)?) => {
        &[$($((stringify!($case), |world| Box::pin($module::$case(world))),)*)*]
    };
}

/// Every case of the port.
pub const CASES: &[Case<Episodic>] = cases!(
    queue::{
        a_task_goes_from_enqueue_to_completion,
        absent_tasks_are_none_and_answers_keep_the_order,
        empty_batches_are_fine,
        tasks_go_out_by_priority_then_age_then_id,
        a_delay_holds_a_task_back,
        queues_are_separate,
        a_dedupe_key_stands_for_one_open_task,
        a_dedupe_key_is_free_once_its_task_is_done_or_dead,
        an_id_is_enqueued_once,
        out_of_bounds_tasks_fail_alone,
        wrong_arguments_are_invalid,
        an_over_limit_batch_is_invalid,
        an_over_limit_read_answers_every_key,
        payloads_of_any_shape_come_back_as_they_went,
        stats_count_every_state,
        stats_of_an_unknown_queue_are_zero,
        completed_tasks_are_forgotten_in_time,
        the_adapter_is_well_and_says_what_it_can,
    },
    settling::{
        an_ended_lease_gives_the_task_back,
        a_late_worker_is_refused,
        a_lease_ends_at_its_end_and_not_before,
        a_heartbeat_prolongs_the_lease,
        each_reservation_has_its_own_token,
        a_settled_task_cannot_be_settled_again,
        a_lost_hold_fails_alone,
        a_failure_backs_off,
        a_failure_without_retry_is_death,
        used_up_attempts_are_death,
        leases_that_end_use_up_attempts,
        a_long_error_is_cut_between_characters,
        a_dead_task_can_be_replayed,
        a_replay_does_not_double_a_dedupe_key,
        a_clock_that_jumps_back_does_no_harm,
    },
    sharing::{
        no_task_goes_to_two_workers,
        concurrent_enqueues_of_a_key_make_one_task,
        concurrent_settlements_have_one_winner,
        another_organization_sees_no_tasks,
        another_organization_sees_no_conversations,
        tasks_and_leases_outlast_a_restart,
        turns_and_sessions_outlast_a_restart,
        time_passes_while_the_store_is_closed,
    },
    listing::{
        pages_are_newest_first,
        pages_follow_every_filter,
        paging_both_ways_equals_slicing,
        pages_stay_put_while_tasks_come,
        a_page_between_cursors_has_only_what_is_between,
        a_wrong_cursor_is_invalid,
    },
    conversation::{
        a_window_is_the_newest_turns_oldest_first,
        a_window_ends_at_the_first_turn_that_does_not_fit,
        a_window_has_a_greatest_age,
        a_window_can_be_of_one_conversation,
        turns_of_one_moment_are_ordered_by_id,
        a_turn_is_appended_once,
        old_turns_are_forgotten,
        concurrent_turns_all_arrive,
        wrong_turns_are_invalid,
        a_turn_is_at_most_a_day_ahead,
        a_session_is_read_and_replaced,
        a_session_expires_and_its_id_is_free_again,
        a_touch_prolongs_a_session,
        a_session_can_be_ended,
        wrong_sessions_are_invalid,
        a_subscriber_hears_what_is_published_from_then_on,
        topics_are_separate,
        a_slow_subscriber_loses_the_oldest,
        a_departed_subscriber_disturbs_nobody,
    },
    steering::{
        a_worker_settles_and_reserves_in_one_call,
        a_lost_hold_does_not_keep_the_next_tasks_back,
        settling_and_reserving_is_of_one_queue,
        a_failed_try_does_not_come_back_in_the_same_call,
        workers_that_settle_and_reserve_share_no_task,
        wrong_work_is_invalid,
        a_paused_queue_hands_out_nothing,
        a_lease_ends_while_its_queue_is_paused,
        a_rate_limit_holds_in_any_window,
        a_rate_limit_ends_to_the_millisecond,
        a_rate_limit_can_be_changed_and_removed,
        a_rate_limit_holds_among_many_workers,
        a_clock_that_jumps_back_stops_no_queue_for_longer_than_its_limit_says,
        settings_are_of_one_queue_and_one_organization,
        a_queue_with_settings_is_listed_without_tasks,
        settings_outlast_tasks_and_restarts,
        concurrent_changes_of_different_settings_all_count,
        wrong_settings_are_invalid,
        throughput_slides_over_a_minute_and_an_hour,
        a_lease_that_ends_is_no_reported_failure,
    },
    deduplication::{
        a_dedupe_window_outlasts_its_task,
        a_dedupe_window_ends_before_an_open_task_does,
        a_dedupe_window_runs_from_enqueueing,
        a_completed_task_is_remembered_as_long_as_its_window,
        a_dedupe_window_outlasts_a_restart,
        a_dead_task_is_replayed_within_its_own_window,
        a_clock_that_jumps_back_gives_no_key_twice,
        a_dedupe_key_is_of_one_queue,
        windows_are_of_one_organization,
        concurrent_enqueues_in_a_window_make_one_task,
        wrong_dedupe_windows_fail_alone,
    },
    counting::{
        a_counter_allows_up_to_its_limit,
        what_was_used_fades_out_over_the_next_window,
        counters_move_back_with_the_clock,
        counters_are_told_apart_by_organization_key_and_window,
        a_batch_of_counters_answers_in_order,
        concurrent_counts_never_pass_the_limit,
        great_counts_are_exact,
        wrong_counters_are_invalid,
    },
);

const LEASE: Duration = Duration::from_secs(60);

/// A number as an id; greater numbers have greater ids.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// A plain task of the queue `render`.
fn task(number: u128) -> NewTask {
    NewTask {
        id: id(number),
        queue: "render".to_owned(),
        kind: "render_video".to_owned(),
        priority: 0,
        payload: serde_json::json!({ "number": number.to_string() }),
        persona_id: None,
        campaign_id: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        dedupe_key: None,
        dedupe_for: None,
    }
}

fn keyed(number: u128, key: &str) -> NewTask {
    NewTask { dedupe_key: Some(key.to_owned()), ..task(number) }
}

fn done() -> Outcome {
    Outcome::Complete { result: None }
}

fn failed(retryable: bool) -> Outcome {
    Outcome::Fail { error: "no frames".to_owned(), retryable }
}

/// The hold of the worker that `task` was handed to.
fn hold(task: &Task) -> Held {
    Held { task_id: task.id, token: task.lease.as_ref().expect("the task is not leased").token }
}

fn ids(tasks: &[Task]) -> Vec<Uuid> {
    tasks.iter().map(|task| task.id).collect()
}

fn kind<T: Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("this should have been refused").kind()
}

/// Shorter calls for what most cases do.
impl World<Episodic> {
    /// Enqueues tasks that must all be new.
    async fn enqueue(&self, tasks: &[NewTask]) -> Vec<Task> {
        let enqueued = self.handle.enqueue(&self.scope, tasks).await.unwrap();
        assert_eq!(enqueued.len(), tasks.len());
        let new = |enqueued: Result<chimera_stores::episodic::Enqueued>| {
            let enqueued = enqueued.unwrap();
            assert!(!enqueued.deduplicated);
            enqueued.task
        };
        enqueued.into_iter().map(new).collect()
    }

    /// Reserves from `render`.
    async fn reserve(&self, count: u32) -> Vec<Task> {
        self.handle.reserve(&self.scope, "render", "worker", count, LEASE).await.unwrap()
    }

    async fn settle(&self, held: Held, outcome: Outcome) -> Result<Task> {
        self.handle.settle(&self.scope, &[(held, outcome)]).await.unwrap().remove(0)
    }

    async fn task(&self, number: u128) -> Option<Task> {
        self.handle.tasks(&self.scope, &[id(number)]).await.unwrap().remove(0)
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }
}
