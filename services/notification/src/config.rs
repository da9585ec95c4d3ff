//! The notification service's flags and environment variables.

use clap::ValueEnum;
use kit::{config::Secret, discovery::Source};

use crate::channel::Kind;

/// Configuration of one notification instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub database: kit::DatabaseArgs,
    /// Where the queue service is.
    #[arg(long, env = "RECARGA_QUEUE", default_value = "127.0.0.1:5006")]
    pub queue: Source,
    /// How many batches of each queue are worked on at a time.
    #[arg(long, env = "RECARGA_NOTIFICATION_CONCURRENCY", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub concurrency: u8,
    /// Seconds after which what an instance that died has taken is given to another; a living one keeps extending it.
    #[arg(long, env = "RECARGA_NOTIFICATION_VISIBILITY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub visibility_seconds: u32,
    /// Which way notifications go out.
    #[arg(
        long,
        env = "RECARGA_NOTIFICATION_CHANNEL",
        value_enum,
        default_value_t
    )]
    pub channel: Kind,
    /// Failures at which a notification is given up, for channels that can fail.
    #[arg(long, env = "RECARGA_NOTIFICATION_ATTEMPTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,
    #[command(flatten)]
    pub webhook: WebhookArgs,
    #[command(flatten)]
    pub smtp: SmtpArgs,
}

/// The channel `webhook`.
#[derive(clap::Args, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub struct WebhookArgs {
    /// Where notifications are posted to, such as `https://example.org/notify`.
    #[arg(long, env = "RECARGA_WEBHOOK_URL", hide_env_values = true)]
    pub webhook_url: Option<String>,
    /// What they are signed with (HMAC-SHA256): at least 16 characters.
    #[arg(long, env = "RECARGA_WEBHOOK_SECRET", hide_env_values = true, value_parser = kit::config::secret)]
    pub webhook_secret: Option<Secret>,
    /// Seconds that the far side may take to answer.
    #[arg(long, env = "RECARGA_WEBHOOK_TIMEOUT_SECONDS", default_value_t = 5.0, value_parser = timeout)]
    pub webhook_timeout_seconds: f64,
}

/// The channel `smtp`.
#[derive(clap::Args, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub struct SmtpArgs {
    /// The mail server, HOST:PORT.
    #[arg(long, env = "RECARGA_SMTP_SERVER")]
    pub smtp_server: Option<String>,
    /// How the connection is protected.
    #[arg(long, env = "RECARGA_SMTP_TLS", value_enum, default_value_t)]
    pub smtp_tls: SmtpTls,
    /// The user to sign in as.
    #[arg(long, env = "RECARGA_SMTP_USER")]
    pub smtp_user: Option<String>,
    /// That user's password.
    #[arg(
        long,
        env = "RECARGA_SMTP_PASSWORD",
        hide_env_values = true,
        requires = "smtp_user"
    )]
    pub smtp_password: Option<Secret>,
    /// Whom mails are from.
    #[arg(
        long,
        env = "RECARGA_SMTP_FROM",
        default_value = "Recarga <recarga@localhost>"
    )]
    pub smtp_from: String,
    /// The domain of the recipients: student 7 gets its mails at `student-7@DOMAIN`.
    #[arg(long, env = "RECARGA_SMTP_DOMAIN", default_value = "localhost")]
    pub smtp_domain: String,
    /// Seconds that each step of the mail server may take.
    #[arg(long, env = "RECARGA_SMTP_TIMEOUT_SECONDS", default_value_t = 5.0, value_parser = timeout)]
    pub smtp_timeout_seconds: f64,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SmtpTls {
    /// Not at all.
    None,
    /// By STARTTLS, or no mail is sent.
    #[default]
    Starttls,
    /// From the first byte on.
    Always,
}

fn timeout(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=60.0).contains(seconds))
        .ok_or_else(|| format!("{text:?} is not a number from 0.1 to 60"))
}
