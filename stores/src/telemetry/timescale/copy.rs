//! The binary format of COPY: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".
//!
//! A signature, flags and a header extension; for each row the number of its fields, and each field's length and bytes
//! in network order; a trailer of -1. Text is never involved, so no value can change its meaning.

use crate::telemetry::RenderEvent;
use uuid::Uuid;

/// The table that rows are copied into, of the session alone and emptied at the end of every transaction.
pub const STAGING: &str = "CREATE TEMP TABLE IF NOT EXISTS incoming (place int NOT NULL, call int NOT NULL, \
    organization_id uuid NOT NULL, id uuid NOT NULL, video_id uuid NOT NULL, persona_id uuid NOT NULL, \
    campaign_id uuid, stage smallint NOT NULL, at timestamptz NOT NULL, duration_ms bigint NOT NULL, \
    cost_micros bigint NOT NULL, frames bigint NOT NULL, gpu_seconds float8 NOT NULL, succeeded boolean NOT NULL) \
    ON COMMIT DELETE ROWS";
/// Starts the copy.
pub const COPY: &str = "COPY pg_temp.incoming FROM STDIN (FORMAT binary)";

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const FIELDS: i16 = 14;
/// A row with all fields: two bytes, fourteen lengths, two numbers, five ids, and the rest.
const ROW: usize = 2 + 14 * 4 + 2 * 4 + 5 * 16 + 2 + 5 * 8 + 1;
/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Rows of one COPY.
#[derive(Debug)]
pub struct Rows {
    bytes: Vec<u8>,
    place: i32,
}

impl Rows {
    /// Room for `events` rows.
    pub fn with_capacity(events: usize) -> Self {
        let mut bytes = Vec::with_capacity(SIGNATURE.len() + events * ROW + 2);
        bytes.extend_from_slice(SIGNATURE);
        Self { bytes, place: 0 }
    }

    /// Adds the events of one call, in their order.
    pub fn push(&mut self, call: i32, organization_id: Uuid, events: &[RenderEvent]) {
        for event in events {
            self.bytes.extend_from_slice(&FIELDS.to_be_bytes());
            self.field(self.place.to_be_bytes());
            self.field(call.to_be_bytes());
            self.field(*organization_id.as_bytes());
            self.field(*event.id.as_bytes());
            self.field(*event.video_id.as_bytes());
            self.field(*event.persona_id.as_bytes());
            match event.campaign_id {
                Some(id) => self.field(*id.as_bytes()),
                None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
            self.field((event.stage as i16).to_be_bytes());
            self.field((event.at.timestamp_micros().saturating_sub(POSTGRES_EPOCH)).to_be_bytes());
            self.field(event.duration_ms.to_be_bytes());
            self.field(event.cost_micros.to_be_bytes());
            self.field(event.frames.to_be_bytes());
            // The addition turns -0 into 0.
            self.field((event.gpu_seconds + 0.0).to_be_bytes());
            self.field([u8::from(event.succeeded)]);
            self.place = self.place.saturating_add(1);
        }
    }

    /// All bytes of the COPY.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        self.bytes
    }

    fn field<const N: usize>(&mut self, bytes: [u8; N]) {
        // No field is longer than 16 bytes.
        self.bytes.extend_from_slice(&(N as i32).to_be_bytes());
        self.bytes.extend_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Stage;
    use chrono::DateTime;

    #[test]
    fn a_row_has_the_bytes_of_the_format() {
        let event = RenderEvent {
            id: Uuid::from_u128(1),
            video_id: Uuid::from_u128(2),
            persona_id: Uuid::from_u128(3),
            campaign_id: None,
            stage: Stage::Upload,
            at: DateTime::from_timestamp_micros(POSTGRES_EPOCH - 1).unwrap(),
            duration_ms: 5,
            cost_micros: i64::MAX,
            frames: 0,
            gpu_seconds: -0.0,
            succeeded: true,
        };
        let mut rows = Rows::with_capacity(1);
        rows.push(7, Uuid::max(), std::slice::from_ref(&event));
        let bytes = rows.finish();
        assert_eq!(&bytes[..21], b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x0e");
        assert_eq!(bytes.len(), 19 + ROW - 16 + 2, "all but the campaign");
        assert_eq!(&bytes[21..37], [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 7]);
        let campaign = 37 + 4 * 20;
        assert_eq!(&bytes[campaign..campaign + 4], [255; 4]);
        assert_eq!(&bytes[campaign + 4..campaign + 10], [0, 0, 0, 2, 0, 4]);
        assert_eq!(&bytes[campaign + 14..campaign + 22], (-1_i64).to_be_bytes());
        assert_eq!(&bytes[bytes.len() - 7..], [0, 0, 0, 1, 1, 255, 255]);
        assert_eq!(&bytes[bytes.len() - 15..bytes.len() - 7], [0; 8], "minus nothing is nothing");
    }
}
