//! Rows on their way into a table, in PostgreSQL's binary COPY format and in pieces of bounded size.

use sqlx::PgConnection;

/// Seconds from the Unix epoch to PostgreSQL's, the 1st of January 2000.
const EPOCH: i64 = 946_684_800;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes kept before a piece is sent. A COPY of its own each, so that the server's queue of key checks stays short too.
const PIECE: usize = 4 << 20;

/// A table being filled.
pub struct Rows {
    /// Name, with the schema.
    pub table: &'static str,
    statement: String,
    columns: i16,
    buffer: Vec<u8>,
    pub sent: u64,
    waiting: u64,
}

impl Rows {
    pub fn new(table: &'static str, columns: &[&str]) -> Self {
        Self::with(table, columns, "format binary")
    }

    /// For a table emptied by TRUNCATE in this transaction: rows are written frozen, so that nothing has to visit them again.
    pub fn frozen(table: &'static str, columns: &[&str]) -> Self {
        Self::with(table, columns, "format binary, freeze")
    }

    fn with(table: &'static str, columns: &[&str], options: &str) -> Self {
        Self {
            table,
            statement: format!(
                "copy {table} ({}) from stdin with ({options})",
                columns.join(", ")
            ),
            columns: i16::try_from(columns.len()).expect("a table has few columns"),
            buffer: SIGNATURE.to_vec(),
            sent: 0,
            waiting: 0,
        }
    }

    /// Starts a row; its fields must follow, as many as there are columns and in their order.
    pub fn row(&mut self) -> Row<'_> {
        self.buffer.extend(self.columns.to_be_bytes());
        self.waiting += 1;
        Row {
            buffer: &mut self.buffer,
            left: self.columns,
        }
    }

    /// Sends what waits once there is enough of it.
    pub async fn flow(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.buffer.len() < PIECE {
            Ok(())
        } else {
            self.flush(connection).await
        }
    }

    pub async fn flush(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.buffer.extend((-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(&self.statement).await?;
        if let Err(error) = copy.send(self.buffer.as_slice()).await {
            copy.abort("the rest could not be sent").await?;
            return Err(error);
        }
        copy.finish().await?;
        self.sent += self.waiting;
        self.waiting = 0;
        self.buffer.truncate(SIGNATURE.len());
        Ok(())
    }
}

/// One row: a length and the bytes for each field.
pub struct Row<'a> {
    buffer: &'a mut Vec<u8>,
    left: i16,
}

impl Row<'_> {
    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.left -= 1;
        self.buffer.extend(
            i32::try_from(bytes.len())
                .expect("fields are short")
                .to_be_bytes(),
        );
        self.buffer.extend(bytes);
        self
    }

    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn integer(&mut self, value: i32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn real(&mut self, value: f32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    /// A time of day, in seconds after midnight.
    pub fn time(&mut self, seconds: i64) -> &mut Self {
        self.bigint(seconds * 1_000_000)
    }

    /// A point in time, in seconds since the Unix epoch.
    pub fn timestamp(&mut self, seconds: i64) -> &mut Self {
        self.bigint((seconds - EPOCH) * 1_000_000)
    }

    pub fn null(&mut self) -> &mut Self {
        self.left -= 1;
        self.buffer.extend((-1_i32).to_be_bytes());
        self
    }

    pub fn maybe<T>(
        &mut self,
        value: Option<T>,
        field: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        match value {
            Some(value) => field(self, value),
            None => self.null(),
        }
    }
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(
            self.left, 0,
            "a row has as many fields as its table has columns"
        );
    }
}
