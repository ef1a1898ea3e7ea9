//! The cases of the relational port, and the adapters they run on.

mod budgets;
mod fixtures;
mod isolation;
mod outbox;
mod pages;
mod reads;
mod spend;
mod writes;

use crate::{Adapter, Case};
use chimera_stores::{
    Address, Guard, Store,
    relational::{PostgresOptions, Relational, SqlRelational},
};
use std::sync::Arc;
use test_servers::{Flavour, Postgres};

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Relational>] = &[
    Adapter {
        name: "sqlite",
        found: || true,
        open: |folder, clock| {
            Box::pin(async move {
                let adapter = SqlRelational::open_sqlite(&folder.join("relational.sqlite"), clock).await.unwrap();
                Relational::new(Guard::detached(Store::Relational), Arc::new(adapter))
            })
        },
    },
    Adapter {
        name: "postgres",
        found: || Postgres::found(Flavour::Plain),
        open: |folder, clock| {
            Box::pin(async move {
                let address = Address::new(crate::servers::postgres(&folder));
                let adapter = SqlRelational::open_postgres(&address, PostgresOptions::default(), clock).await.unwrap();
                Relational::new(Guard::detached(Store::Relational), Arc::new(adapter))
            })
        },
    },
];

macro_rules! cases {
    ($($module:ident: $($case:ident),* $(,)?;)*) => {
        /// Every case of the port.
        pub const CASES: &[Case<Relational>] =
            &[$($((stringify!($case), |world| Box::pin($module::$case(world)))),*),*];
    };
}

cases! {
    reads:
        every_kind_reads_its_own_write,
        absent_and_duplicate_keys_keep_their_places,
        empty_batches_are_answered,
        a_batch_larger_than_the_limit_is_cut,
        unique_columns_find_rows,
        an_address_on_two_chains_finds_the_oldest_wallet,
        a_column_that_is_not_unique_is_refused,
        a_column_that_a_kind_lacks_is_named,
        empty_unicode_and_huge_values_round_trip,
        times_keep_microseconds,
        billing_is_summed_by_parent_currency_and_time,
        billing_is_not_summed_by_other_columns,
        live_keys_authenticate,
        an_organisation_is_found_by_handle,
        capabilities_and_health_are_told,
        everything_is_there_after_a_restart;
    spend:
        spend_is_told_apart_by_what_is_asked,
        spend_of_a_batch_keeps_its_questions_apart,
        a_long_spend_report_is_cut_and_says_so,
        spend_reports_equal_the_sum_of_the_records,
        spend_questions_that_make_no_sense_are_refused;
    isolation:
        another_organisation_reads_nothing,
        another_organisation_changes_nothing,
        another_organisation_is_not_referred_to,
        rows_of_another_organisation_are_not_written,
        users_are_seen_by_their_organisations,
        the_same_handle_serves_two_organisations;
    pages:
        a_page_is_a_slice_of_the_sorted_list,
        walking_visits_every_row_once,
        walking_is_stable_under_insert,
        each_parent_has_its_own_page,
        personas_and_campaigns_meet_through_links,
        predicates_select_rows,
        predicates_of_the_wrong_type_are_refused,
        equal_sort_values_are_told_apart_by_id,
        orders_and_cursors_that_make_no_sense_are_refused,
        totals_count_the_whole_list,
        the_default_order_is_newest_first;
    writes:
        an_update_needs_the_version_before,
        a_new_row_has_version_one,
        a_unique_key_in_the_way_is_named,
        a_missing_reference_is_named,
        rules_about_values_are_kept,
        a_failed_transaction_leaves_nothing,
        a_cancelled_commit_is_whole_or_absent,
        rows_are_written_in_order,
        audit_entries_tell_who_and_when,
        audit_entries_are_not_changed_as_rows,
        audit_order_survives_a_clock_that_jumps_back,
        deleted_rows_are_gone,
        a_row_that_is_referred_to_stays,
        a_user_without_memberships_can_be_deleted,
        one_of_many_writers_wins_each_version,
        one_of_many_writers_gets_the_handle;
    budgets:
        charges_stay_within_the_budget_of_the_campaign,
        charges_stay_within_the_budget_of_their_period,
        periods_of_budgets_do_not_overlap,
        many_writers_do_not_overspend_together;
    outbox:
        entries_come_in_order_of_commit,
        an_entry_that_waits_holds_back_its_entity,
        settling_twice_is_settling_once,
        depth_counts_each_target,
        sequence_numbers_are_not_used_again;
}
