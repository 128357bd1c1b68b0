//! The `[[source]]` tables of an agent's configuration, as they were read from the mesh file.

use std::path::Path;
use std::time::Duration;

use tally_agent::source::{
    Algorithm, Auth, FhirServerSettings, OAuthClient, OptOutScope, PersonColumn, PostgresServer,
    PostgresSettings, Secret, SourceKind, SourceSettings,
};
use tally_core::id::CheckDigit;

use super::quoted;

/// The lines of one table.
struct Lines(Vec<String>);

/// A `[[source]]` of an agent's configuration.
pub(super) fn table(source: &SourceSettings) -> String {
    let mut lines = Lines(vec!["\n[[source]]".to_owned()]);
    lines.text("id", source.id.as_str());
    match &source.kind {
        SourceKind::FhirDirectory { path, subjects } => {
            lines.text("kind", "fhir-directory");
            lines.path("path", path);
            if let Some(subjects) = subjects {
                lines.path("subjects", subjects);
            }
        }
        SourceKind::FhirServer(settings) => lines.fhir_server(settings),
        SourceKind::Postgres(settings) => lines.postgres(settings),
        SourceKind::Files { path, person } => {
            lines.text("kind", "files");
            lines.path("path", path);
            lines.person(person.as_ref());
        }
    }
    if let Some(title) = &source.title {
        lines.text("title", title);
    }
    if let Some(licence) = &source.licence {
        lines.text("licence", licence);
    }
    if source.identifiers == CheckDigit::Skipped {
        lines.text("identifiers", "synthetic");
    }
    if source.opt_out == OptOutScope::NotCare {
        lines.text("opt_out", "not-care");
    }
    lines.0.join("\n") + "\n"
}

impl Lines {
    fn text(&mut self, key: &str, value: &str) {
        self.0.push(format!("{key} = {}", quoted(value)));
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.text(key, &path.display().to_string());
    }

    fn number(&mut self, key: &str, number: impl ToString) {
        self.0.push(format!("{key} = {}", number.to_string()));
    }

    fn wait(&mut self, key: &str, wait: Duration) {
        self.number(key, wait.as_millis());
    }

    fn person(&mut self, person: Option<&PersonColumn>) {
        match person {
            None => self.text("person", "none"),
            Some(person) => {
                let column = quoted(&person.column);
                let person = format!("{{ column = {column}, system = \"nhs-number\" }}");
                self.0.push(format!("person = {person}"));
            }
        }
    }

    fn fhir_server(&mut self, settings: &FhirServerSettings) {
        self.text("kind", "fhir");
        self.text("url", &settings.url.base());
        if let Some(ca) = &settings.ca {
            self.path("ca", ca);
        }
        if let Some(identity) = &settings.identity {
            self.path("cert", &identity.cert);
            self.path("key", &identity.key);
        }
        if let Some(auth) = auth(&settings.auth) {
            self.0.push(format!("auth = {auth}"));
        }
        if let Some(subjects) = &settings.subjects {
            self.path("subjects", subjects);
        }
        self.wait("connect_timeout_ms", settings.connect_wait_max);
        self.wait("answer_timeout_ms", settings.answer_wait_max);
        self.wait("whole_timeout_ms", settings.whole_wait_max);
        self.number("attempts_max", settings.attempts_max);
        self.number("answer_bytes_max", settings.answer_bytes_max);
    }

    fn postgres(&mut self, settings: &PostgresSettings) {
        self.text("kind", "postgres");
        match &settings.server {
            PostgresServer::Socket(directory) => self.path("socket", directory),
            PostgresServer::Tcp { host, tls } => {
                self.text("host", host);
                match tls {
                    None => self.text("tls", "off"),
                    Some(tls) => {
                        self.path("ca", &tls.ca);
                        if let Some(identity) = &tls.identity {
                            self.path("cert", &identity.cert);
                            self.path("key", &identity.key);
                        }
                    }
                }
            }
        }
        self.number("port", settings.port);
        self.text("database", &settings.database);
        self.text("user", &settings.user);
        if let Some(secret) = &settings.password {
            let (key, value) = secret_of(secret, ("password_file", "password_env"));
            self.text(key, &value);
        }
        self.text("query", &settings.query_text);
        let parameters = settings.query.parameters();
        let parameters = parameters.map(|(name, kind)| format!("{name} = {}", quoted(kind.word())));
        self.0.push(format!("parameters = {{ {} }}", parameters.collect::<Vec<_>>().join(", ")));
        self.person(settings.person.as_ref());
        self.wait("connect_timeout_ms", settings.connect_wait_max);
        self.wait("statement_timeout_ms", settings.statement_wait_max);
        self.number("connections_max", settings.connections_max);
    }
}

/// How an agent says who it is, as a table; none where it does not.
fn auth(auth: &Auth) -> Option<String> {
    let path = |path: &Path| path.display().to_string();
    let (kind, mut keys) = match auth {
        Auth::None => return None,
        Auth::Bearer { token_file } => ("bearer", vec![("token_file", path(token_file))]),
        Auth::ClientCredentials { client, secret } => {
            let mut keys = client_of(client);
            keys.push(secret_of(secret, ("secret_file", "secret_env")));
            ("client-credentials", keys)
        }
        Auth::SmartBackend { client, key, key_id, algorithm } => {
            let algorithm = match algorithm {
                Algorithm::Rs384 => "RS384",
                Algorithm::Es384 => "ES384",
            };
            let mut keys = client_of(client);
            keys.extend([("key", path(key)), ("kid", key_id.clone())]);
            keys.push(("algorithm", algorithm.to_owned()));
            ("smart-backend", keys)
        }
    };
    keys.insert(0, ("kind", kind.to_owned()));
    let keys = keys.iter().map(|(key, value)| format!("{key} = {}", quoted(value)));
    Some(format!("{{ {} }}", keys.collect::<Vec<_>>().join(", ")))
}

fn client_of(client: &OAuthClient) -> Vec<(&'static str, String)> {
    let mut keys =
        vec![("token_url", client.token_url.base()), ("client_id", client.client_id.clone())];
    keys.extend(client.scope.clone().map(|scope| ("scope", scope)));
    keys
}

/// Where a secret stands; it is never read here.
fn secret_of(
    secret: &Secret,
    (file, variable): (&'static str, &'static str),
) -> (&'static str, String) {
    match secret {
        Secret::File(path) => (file, path.display().to_string()),
        Secret::Variable(name) => (variable, name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use tally_core::file;

    use super::*;

    fn read(text: &str) -> Vec<SourceSettings> {
        let found = file::read(text, 16 * 1024, &[], |reader, mut keys| {
            let value = reader.required(&mut keys, "source")?;
            reader.close(keys);
            SourceSettings::read_all(reader, Path::new("/base"), &value)
        });
        found.unwrap()
    }

    #[test]
    fn a_source_comes_back_as_it_was_whatever_its_kind() {
        let text = r#"
[[source]]
id = "fhir"
kind = "fhir"
url = "https://fhir.rz9.example/r4"
ca = "ca.pem"
cert = "c.pem"
key = "c.key"
subjects = "nhs.csv"
attempts_max = 2
answer_timeout_ms = 700
auth = { kind = "smart-backend", token_url = "https://login.rz9.example/token", client_id = "tally", key = "k.pem", kid = "k1", algorithm = "ES384", scope = "system/*.rs" }

[[source]]
id = "beds"
kind = "files"
path = "beds.csv"
person = "none"
licence = "OGL-UK-3.0"

[[source]]
id = "spend"
kind = "postgres"
host = "db.rz9.example"
ca = "ca.pem"
database = "finance"
user = "tally"
password_env = "SPEND_PASSWORD"
query = """
SELECT ward, sum(spent) AS spent FROM spend -- "quoted"
WHERE year = :year GROUP BY ward"""
parameters = { year = "integer" }
person = "none"
statement_timeout_ms = 3000

[[source]]
id = "visits"
kind = "postgres"
socket = "/run/postgresql"
port = 5433
database = "visits"
user = "tally"
query = "SELECT * FROM visits"
person = { column = "nhs_number", system = "nhs-number" }
opt_out = "not-care"
"#;
        let sources = read(text);
        let written: String = sources.iter().map(table).collect();
        assert_eq!(read(&written), sources, "{written}");
        let bearer = "[[source]]\nid = \"fhir\"\nkind = \"fhir\"\nurl = \"http://127.0.0.1:1/x\"\n";
        for auth in [
            r#"{ kind = "bearer", token_file = "t" }"#,
            r#"{ kind = "client-credentials", token_url = "http://127.0.0.1:1/t", client_id = "a", secret_file = "s" }"#,
        ] {
            let sources = read(&format!("{bearer}auth = {auth}\n"));
            assert_eq!(read(&table(&sources[0])), sources);
        }
    }
}
