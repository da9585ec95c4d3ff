//! The channel `smtp`: a mail for each notification.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

use super::Failure;
use crate::{
    config::{SmtpArgs, SmtpTls},
    event::{Notice, Subject},
};

/// The mail server; cheap to clone.
#[derive(Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    domain: String,
    timeout: Duration,
}

impl Smtp {
    pub fn new(arguments: &SmtpArgs) -> Result<Self, kit::Error> {
        const SERVER: &str = "RECARGA_SMTP_SERVER (--smtp-server)";
        const FROM: &str = "RECARGA_SMTP_FROM (--smtp-from)";
        const DOMAIN: &str = "RECARGA_SMTP_DOMAIN (--smtp-domain)";
        let server = arguments
            .smtp_server
            .as_deref()
            .ok_or_else(|| kit::Error::config(SERVER, "the channel smtp needs it"))?;
        let (host, port) = server
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| kit::Error::config(SERVER, "it is not HOST:PORT"))?;
        let from: Mailbox = arguments
            .smtp_from
            .parse()
            .map_err(|error| kit::Error::config(FROM, error))?;
        let domain = arguments.smtp_domain.clone();
        // Whatever a recipient is called, this is what may be wrong with its address.
        format!("student-1@{domain}")
            .parse::<Mailbox>()
            .map_err(|error| kit::Error::config(DOMAIN, error))?;
        let parameters = || TlsParameters::new(host.to_owned()).map_err(kit::Error::other);
        let tls = match arguments.smtp_tls {
            SmtpTls::None => Tls::None,
            SmtpTls::Starttls => Tls::Required(parameters()?),
            SmtpTls::Always => Tls::Wrapper(parameters()?),
        };
        let timeout = Duration::from_secs_f64(arguments.smtp_timeout_seconds);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(timeout));
        if let Some(user) = &arguments.smtp_user {
            let password = arguments.smtp_password.as_ref().ok_or_else(|| {
                kit::Error::config(
                    "RECARGA_SMTP_PASSWORD (--smtp-password)",
                    "the user needs one",
                )
            })?;
            builder = builder.credentials(Credentials::new(user.clone(), password.0.clone()));
        }
        Ok(Self {
            transport: builder.build(),
            from,
            domain,
            timeout,
        })
    }

    pub async fn deliver(&self, notice: &Notice) -> Result<(), Failure> {
        let mail = self
            .mail(notice)
            .map_err(|error| Failure::Permanent(format!("no mail can be made of it: {error}")))?;
        // The transport's own limit is for each step.
        let sending = Box::pin(self.transport.send(mail));
        match tokio::time::timeout(self.timeout * 2, sending).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(Failure::Permanent(format!(
                "the mail server refused: {error}"
            ))),
            Ok(Err(error)) => Err(Failure::transient(format!("the mail server: {error}"))),
            Err(_) => Err(Failure::transient("the mail server did not answer in time")),
        }
    }

    fn mail(&self, notice: &Notice) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
        let subject = match notice.subject {
            Subject::Booking(id) => format!("Your session, booking {id}"),
            Subject::Recharge(id) => format!("Your recharge {id}"),
        };
        let to = format!("{}@{}", notice.recipient.replace(':', "-"), self.domain);
        Ok(Message::builder()
            .from(self.from.clone())
            .to(to.parse()?)
            .subject(subject)
            // The same for every attempt, so that a mailbox can tell a second copy.
            .message_id(Some(format!("<{}@{}>", notice.event_id, self.domain)))
            .header(ContentType::TEXT_PLAIN)
            .body(notice.body.clone())?)
    }
}
