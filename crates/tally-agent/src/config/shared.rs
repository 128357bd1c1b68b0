//! Keys that an agent's configuration and a sidecar's have in common, with the same meaning and default.

use tally_core::file::{Setting, Unsaid};

use Unsaid::{Is, Nothing, Required};

pub(super) const TALLY: Setting = Setting::row("tally", Required, "The form of the file: 1.");
pub(super) const LOG_FORMAT: Setting = Setting::row(
    "log_format",
    Is("\"human\""),
    "How it writes what happens to standard error: `human` or `json`, one object in each line.",
);
pub(super) const LOG_LEVEL: Setting = Setting::row(
    "log_level",
    Is("\"info\""),
    "What it writes, and all that is graver: `error`, `warn`, `info` or `debug`.",
);
pub(super) const IDENTITY_KEY: Setting =
    Setting::row("identity.key", Required, "The certificate's key, in PEM. Followed with it.");
pub(super) const INGRESS_LISTEN: Setting = Setting::row(
    "ingress.listen",
    Is("\"127.0.0.1:7601\""),
    "Where applications reach it: TCP on loopback, `unix:PATH`, or any address with mutual TLS.",
);
pub(super) const INGRESS_CERT: Setting = Setting::row(
    "ingress.cert",
    Nothing,
    "Mutual TLS, with the next two: the certificate that applications check, in PEM. Followed.",
);
pub(super) const INGRESS_KEY: Setting =
    Setting::row("ingress.key", Nothing, "Its key, in PEM. Followed with it.");
pub(super) const INGRESS_CLIENT_CA: Setting =
    Setting::row("ingress.client_ca", Nothing, "The CAs that vouch for applications, in PEM.");
pub(super) const HEALTH_LISTEN: Setting = Setting::row(
    "health.listen",
    Is("\"0.0.0.0:7602\""),
    "Where `/live`, `/ready` and `/metrics` are, over TCP.",
);
