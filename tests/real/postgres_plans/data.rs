//! A database of the size that the plans are looked at: 200,000 rows in each table that grows, unevenly spread over
//! organisations and parents, because an even spread hides bad plans.

use test_servers::Postgres;
use uuid::Uuid;

/// Rows of each large table.
pub const ROWS: i64 = 200_000;
/// The organisation of every second row; the others share the rest.
pub const LARGE: i64 = 0;
/// Personas and campaigns that have children. The first one of each has a tenth of those of its organisation.
pub const PARENTS: i64 = 20_000;
/// The tables where a sequential scan is a fault.
pub const TABLES: &[&str] = &[
    "persona",
    "campaign",
    "campaign_persona",
    "post",
    "video",
    "asset",
    "wallet",
    "billing_record",
    "audit_entry",
    "outbox_entry",
    "membership",
    "user",
    "budget",
];

/// The id of row `number` of `table`.
pub fn id(table: &str, number: i64) -> Uuid {
    // As `uuid()` below: the first 16 bytes of a hash would be as good, but PostgreSQL has only this one built in.
    let name = format!("{number:032x}");
    let digits: String = name.chars().rev().collect();
    let mut bytes = *Uuid::parse_str(&digits).unwrap().as_bytes();
    bytes[15] =
        u8::try_from(TABLES.iter().chain(&["organization", "api_key"]).position(|t| *t == table).unwrap()).unwrap();
    Uuid::from_bytes(bytes)
}

/// Fills the tables of a migrated database, and lets the server count them.
pub fn fill(server: &Postgres, database: &str) {
    // No foreign key is checked row by row, which would take most of the time.
    let mut sql = String::from("SET session_replication_role = replica; SET synchronous_commit = off;\n");
    // Reversed digits, so that ids lie in another order than the rows; the last byte tells the tables apart.
    sql.push_str(
        "CREATE FUNCTION pg_temp.id(number bigint, tag int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
            SELECT (left(reverse(lpad(to_hex(number), 32, '0')), 30) || lpad(to_hex(tag), 2, '0'))::uuid $$;
         CREATE FUNCTION pg_temp.org(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE WHEN number % 2 = 0 THEN 0 ELSE 1 + number % 4 END $$;
         CREATE FUNCTION pg_temp.parent(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE WHEN number % 20 = 0 THEN 0 ELSE number * 7919 % 20000 / 4 * 4 + number % 4 END $$;\n",
    );
    let tag = |table: &str| id(table, 0).as_bytes()[15];
    let at = |table: &str, number: &str| format!("pg_temp.id({number}, {})", tag(table));
    let stamp = "timestamptz '2026-01-01' + make_interval(secs => n * 7919 % 7776000)";
    let stamps = format!("{stamp}, {stamp} + make_interval(secs => n * 101 % 99991), 1");
    let stamped = "created_at, updated_at, version";
    let org = at("organization", "pg_temp.org(n)");
    let (persona, campaign) = (at("persona", "pg_temp.parent(n)"), at("campaign", "pg_temp.parent(n)"));
    let mut insert = |table: &str, rows: i64, columns: &str, values: &str| {
        sql.push_str(&format!(
            "INSERT INTO \"{table}\" ({columns}) SELECT {values} FROM generate_series(0, {}) AS n;\n",
            rows - 1
        ));
    };
    let own = |table: &str| at(table, "n");
    insert(
        "organization",
        5,
        &format!("id, handle, name, {stamped}"),
        &format!("{}, 'org' || n, 'Organisation ' || n, {stamps}", own("organization")),
    );
    insert(
        "user",
        ROWS,
        &format!("id, email, name, {stamped}"),
        &format!("{}, 'user' || n || '@example.com', 'User', {stamps}", own("user")),
    );
    insert(
        "membership",
        ROWS,
        &format!("id, organization_id, user_id, role, {stamped}"),
        &format!("{}, {org}, {}, 'EDITOR', {stamps}", own("membership"), own("user")),
    );
    insert(
        "api_key",
        ROWS,
        &format!("id, organization_id, name, prefix, hash, role, {stamped}"),
        &format!("{}, {org}, 'key', 'chim', 'hash' || n, 'ADMIN', {stamps}", own("api_key")),
    );
    insert(
        "persona",
        ROWS,
        &format!("id, organization_id, external_id, handle, name, status, {stamped}"),
        &format!(
            "{}, {org}, 'x' || n, 'p' || n, 'Name ' || n * 7919 % 200017, (ARRAY['ACTIVE','DRAFT','RETIRED'])[1 + n % 3], {stamps}",
            own("persona")
        ),
    );
    insert(
        "campaign",
        ROWS,
        &format!("id, organization_id, external_id, name, objective, status, budget_minor, currency, {stamped}"),
        &format!(
            "{}, {org}, 'x' || n, 'Name ' || n * 7919 % 200017, 'o', (ARRAY['ACTIVE','DRAFT'])[1 + n % 2], n, 'EUR', {stamps}",
            own("campaign")
        ),
    );
    insert(
        "campaign_persona",
        ROWS,
        &format!("id, organization_id, campaign_id, persona_id, {stamped}"),
        // Ten personas of the same organisation to each campaign, and none of them twice.
        &format!(
            "{}, {}, {}, {}, {stamps}",
            own("campaign_persona"),
            at("organization", &format!("pg_temp.org(n % {PARENTS})")),
            at("campaign", &format!("n % {PARENTS}")),
            at("persona", &format!("(n % {PARENTS} + 4 * (1 + n / {PARENTS})) % {PARENTS}")),
        ),
    );
    insert(
        "asset",
        ROWS,
        &format!(
            "id, organization_id, kind, status, content_type, size_bytes, sha256, metadata, source_asset_id, {stamped}"
        ),
        &format!(
            "{}, {org}, 'IMAGE', 'READY', 'image/png', n, 'ab', '{{}}', CASE WHEN n % 3 = 0 AND n > 8 THEN {} END, {stamps}",
            own("asset"),
            at("asset", "n - 8")
        ),
    );
    let media = format!("{persona}, {campaign}");
    insert(
        "video",
        ROWS,
        &format!(
            "id, organization_id, external_id, persona_id, campaign_id, title, status, category, tags, asset_id, published_at, {stamped}"
        ),
        &format!(
            "{}, {org}, 'x' || n, {media}, 'Title ' || n * 7919 % 200003, (ARRAY['READY','QUEUED','PUBLISHED'])[1 + n % 3], (ARRAY['travel','food','music','sport'])[1 + n % 4], '[]', {}, {stamp}, {stamps}",
            own("video"),
            own("asset")
        ),
    );
    insert(
        "post",
        ROWS,
        &format!(
            "id, organization_id, external_id, persona_id, campaign_id, video_id, text, topics, platform, status, published_at, {stamped}"
        ),
        &format!(
            "{}, {org}, 'x' || n, {media}, {}, 'text', '[]', (ARRAY['tiktok','youtube','x'])[1 + n % 3], (ARRAY['DRAFT','PUBLISHED','SCHEDULED'])[1 + n % 3], {stamp}, {stamps}",
            own("post"),
            own("video")
        ),
    );
    insert(
        "wallet",
        ROWS,
        &format!("id, organization_id, persona_id, chain, address, {stamped}"),
        &format!("{}, {org}, {persona}, (ARRAY['LOCAL','SOLANA'])[1 + n % 2], '0x' || n, {stamps}", own("wallet")),
    );
    insert(
        "billing_record",
        ROWS,
        &format!(
            "id, organization_id, external_id, campaign_id, persona_id, kind, amount_minor, currency, occurred_at, {stamped}"
        ),
        &format!(
            "{}, {org}, 'x' || n, {campaign}, {persona}, 'RENDER', n * 31 % 100003, (ARRAY['EUR','USD'])[1 + n % 2], {stamp}, {stamps}",
            own("billing_record")
        ),
    );
    insert(
        "budget",
        ROWS,
        &format!("id, organization_id, campaign_id, starts_at, ends_at, amount_minor, currency, {stamped}"),
        &format!(
            "{}, {org}, {}, {stamp}, {stamp} + interval '1 day', n, 'EUR', {stamps}",
            own("budget"),
            own("campaign")
        ),
    );
    insert(
        "audit_entry",
        ROWS,
        "id, organization_id, actor, action, entity_type, entity_id, created_at",
        &format!(
            "{}, {org}, 'user:' || n % 500, (ARRAY['createPost','updatePost','deletePost'])[1 + n % 3], 'Post', {}, {stamp}",
            own("audit_entry"),
            at("post", "n / 4")
        ),
    );
    insert(
        "outbox_entry",
        ROWS,
        "organization_id, target, entity_id, entity_version, body, attempts, not_before, created_at",
        // One in a hundred waits, half of these for longer.
        &format!(
            "{org}, (ARRAY['MEMORY','SEARCH'])[1 + n % 2], {}, 1, '{{}}', 0, CASE WHEN n % 100 = 0 THEN timestamptz '2026-01-01' + make_interval(years => n::int % 200 / 2) END, {stamp}",
            at("post", "n / 2")
        ),
    );
    server.sql(database, &sql);
    server.sql(database, "VACUUM ANALYZE");
}
