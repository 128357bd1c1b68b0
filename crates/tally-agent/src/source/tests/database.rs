//! Queries of a real PostgreSQL server.

#[allow(unreachable_pub, reason = "the harness of the whole workspace has it, too")]
#[path = "../../../../../tests/harness/postgres.rs"]
mod server;

use std::net::{IpAddr, Ipv4Addr};

use tally_core::opening::CHUNK_LEN;
use tally_net::authority::Validity;
use tally_net::{Authority, Role, SpiffeId};

use super::*;
use crate::source::{
    NamedQuery, ParameterType, PostgresServer, PostgresSettings, PostgresTls, Secret,
};
use server::{Identity, Postgres};

/// A table about nobody, and one about people.
const TABLES: &str = r#"
    CREATE TABLE spend (year int, ward text, spent numeric, at date, open boolean);
    INSERT INTO spend VALUES (2024, 'A', 12.50, '2024-05-01', true),
        (2024, 'B "the, second"', NULL, '2024-06-01', false), (2025, 'A', 7.00, '2025-01-01', true);
    CREATE TABLE visits (nhs_number text, clinic text, note text);
    INSERT INTO visits VALUES ('9990000018', 'eye', 'x'), ('9990000026', 'ear', 'y'),
        ('9990000018', 'ear', 'z');
    CREATE TABLE written (at timestamptz);
    CREATE FUNCTION write_it() RETURNS int LANGUAGE sql VOLATILE SECURITY DEFINER
        AS 'INSERT INTO written VALUES (now()) RETURNING 1';
    CREATE ROLE reader LOGIN PASSWORD 's3cret';
    GRANT SELECT ON spend, visits TO reader;
"#;

fn settings(postgres: &Postgres, query: &str) -> PostgresSettings {
    with_parameters(postgres, query, &[])
}

fn with_parameters(
    postgres: &Postgres,
    query: &str,
    parameters: &[(&str, ParameterType)],
) -> PostgresSettings {
    let parameters = parameters.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    PostgresSettings {
        server: PostgresServer::Socket(postgres.socket()),
        port: postgres.port(),
        database: "postgres".to_owned(),
        user: "reader".to_owned(),
        password: None,
        query: NamedQuery::new(query, parameters).unwrap(),
        query_text: query.to_owned(),
        person: None,
        connect_wait_max: Duration::from_secs(10),
        statement_wait_max: Duration::from_secs(60),
        connections_max: 4,
    }
}

fn source(desk: &Desk, settings: PostgresSettings) -> Arc<Source> {
    Arc::new(desk.open("beds", SourceKind::Postgres(Box::new(settings))).unwrap())
}

/// What leaves of a query.
async fn cut(desk: &Desk, source: &Arc<Source>, query: &str) -> Result<Cut, Refusal> {
    desk.asked(source, Ask { query: query.to_owned(), ..ask_dataset("", 0) }).await
}

async fn text(desk: &Desk, source: &Arc<Source>, query: &str) -> Result<String, Refusal> {
    let cut = cut(desk, source, query).await?;
    assert_eq!(cut.media_type, "text/csv");
    Ok(cut.text())
}

fn about_nobody(fields: AllowList) -> Desk {
    Desk { fields, data: DataKind::None, ..Desk::new() }
}

fn columns(names: &[&str]) -> AllowList {
    AllowList::Columns(names.iter().map(|it| (*it).to_owned()).collect())
}

/// Waits until no query of an agent is at work any more.
async fn until_idle(postgres: &Postgres) {
    let active = "SELECT count(*) FROM pg_stat_activity \
        WHERE application_name = 'tally' AND state <> 'idle'";
    while postgres.ask(active) != "0" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_leaves_as_a_table_and_takes_its_values_bound() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let desk = about_nobody(AllowList::Everything);
    let query = "SELECT ward, spent, at, open FROM spend\n\
        WHERE year = :year AND ward LIKE :ward -- by ward\nORDER BY spend.ward;";
    let parameters = [("year", ParameterType::Integer), ("ward", ParameterType::Text)];
    let spend = source(&desk, with_parameters(&postgres, query, &parameters));
    assert_eq!(spend.descriptor().kind, DescriptorKind::Dataset);
    let all = "ward,spent,at,open\nA,12.50,2024-05-01,t\n\
        \"B \"\"the, second\"\"\",,2024-06-01,f\n";
    assert_eq!(text(&desk, &spend, "year=2024&ward=%25").await.unwrap(), all);
    let nothing = "ward,spent,at,open\n";
    for ward in ["'%20OR%20'1'%3D'1", "');DROP+TABLE+spend;--", "$1", ":year"] {
        let found = text(&desk, &spend, &format!("year=2024&ward={ward}")).await;
        assert_eq!(found.unwrap(), nothing, "{ward}");
    }
    assert_eq!(postgres.ask("SELECT count(*) FROM spend"), "3");
    for (asked, refusal) in [
        ("year=2024", Refusal::BadQuery),
        ("year=2024%20OR%201%3D1&ward=A", Refusal::BadQuery),
        ("year=2024&ward=A&other=1", Refusal::UnsupportedParameter),
    ] {
        assert_eq!(text(&desk, &spend, asked).await, Err(refusal), "{asked}");
    }
    // Less of it, as of a file.
    let desk = about_nobody(columns(&["open", "ward"]));
    let some = text(&desk, &spend, "year=2025&ward=A").await;
    assert_eq!(some.unwrap(), "ward,open\nA,t\n");
}

#[tokio::test]
async fn rows_about_people_are_decided_one_by_one() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let mut desk = Desk { fields: columns(&["clinic", "nhs_number"]), ..Desk::new() };
    let person = Some(PersonColumn { column: "nhs_number".to_owned() });
    let query = "SELECT nhs_number, clinic, note FROM visits ORDER BY clinic, nhs_number";
    let visits = source(&desk, PostgresSettings { person, ..settings(&postgres, query) });
    assert_eq!(visits.descriptor().kind, DescriptorKind::PeopleDataset);
    let all = "nhs_number,clinic\n9990000018,ear\n9990000026,ear\n9990000018,eye\n";
    assert_eq!(text(&desk, &visits, "").await.unwrap(), all);
    desk.denied = vec!["nhs-number|9990000018"];
    let cut = cut(&desk, &visits, "").await.unwrap();
    assert_eq!(cut.text(), "nhs_number,clinic\n9990000026,ear\n");
    assert_eq!((cut.records, cut.people.len(), cut.people_withheld), (1, 1, 1));
    let everybody = spawn_blocking(move || visits.everybody()).await.unwrap();
    assert_eq!(everybody.unwrap().len(), 2);
}

#[tokio::test]
async fn a_query_reads_one_snapshot_and_writes_nothing() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    postgres.ask("GRANT EXECUTE ON FUNCTION write_it() TO reader");
    let desk = about_nobody(AllowList::Everything);
    let shown = source(
        &desk,
        settings(
            &postgres,
            "SELECT current_setting('transaction_isolation') AS level, \
             current_setting('transaction_read_only') AS only, current_setting('timezone') AS zone",
        ),
    );
    let expected = "level,only,zone\nrepeatable read,on,UTC\n";
    assert_eq!(text(&desk, &shown, "").await.unwrap(), expected);
    let writing = source(&desk, settings(&postgres, "SELECT write_it() AS done"));
    assert_eq!(text(&desk, &writing, "").await, Err(Refusal::UpstreamRefused));
    assert_eq!(postgres.ask("SELECT count(*) FROM written"), "0");
    for query in ["SELECT * FROM written", "SELECT * FROM nowhere", "SELEKT 1"] {
        let source = source(&desk, settings(&postgres, query));
        assert_eq!(text(&desk, &source, "").await, Err(Refusal::UpstreamRefused), "{query}");
    }
    let broken = source(&desk, settings(&postgres, "SELECT 1 / (year - year) AS x FROM spend"));
    assert_eq!(text(&desk, &broken, "").await, Err(Refusal::UpstreamMalformed));
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_cancelled_at_the_server() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let desk = about_nobody(AllowList::Everything);
    // Hours of work before the first row.
    let endless =
        "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000) b";
    let slow = source(&desk, settings(&postgres, endless));
    let reading = tokio::spawn(Arc::clone(&slow).describe(ask_dataset("", 0)));
    let active = "SELECT count(*) FROM pg_stat_activity \
        WHERE application_name = 'tally' AND state = 'active' AND query LIKE 'COPY%'";
    while postgres.ask(active) != "1" {
        tokio::task::yield_now().await;
    }
    reading.abort();
    until_idle(&postgres).await;
    // One that takes longer than it is given.
    let hasty = PostgresSettings {
        statement_wait_max: Duration::from_millis(100),
        ..settings(&postgres, endless)
    };
    assert_eq!(text(&desk, &source(&desk, hasty), "").await, Err(Refusal::QueryTooSlow));
    until_idle(&postgres).await;
    // While all connections are in use, nobody else waits for ever.
    let few = PostgresSettings {
        connections_max: 1,
        connect_wait_max: Duration::from_millis(500),
        ..settings(&postgres, endless)
    };
    let few = source(&desk, few);
    let reading = tokio::spawn(Arc::clone(&few).describe(ask_dataset("", 0)));
    while postgres.ask(active) != "1" {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&desk, &few, "").await, Err(Refusal::UpstreamUnreachable));
    reading.abort();
    until_idle(&postgres).await;
}

/// All pieces of a result that does not fit into memory, or why it broke off and after how many.
async fn streamed(desk: &Desk, source: &Arc<Source>) -> Result<Vec<u8>, (Refusal, usize)> {
    let reading = Arc::clone(source).describe(ask_dataset("", 0)).await.unwrap();
    let permit = desk.permit(source, &reading);
    let Reading::Result(result) = &reading else { panic!("{reading:?}") };
    // A decision that is made anew begins anew.
    drop(result.open(&permit).unwrap());
    let mut chunks = result.open(&permit).unwrap();
    drop(reading);
    let (mut pieces, mut short) = (Vec::new(), false);
    while let Some(piece) = chunks.next().await {
        let piece = piece.map_err(|refusal| (refusal, pieces.len()))?;
        assert!(!short && !piece.is_empty() && piece.len() <= CHUNK_LEN);
        short = piece.len() < CHUNK_LEN;
        pieces.push(piece);
    }
    assert!(chunks.next().await.is_none());
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_result_that_does_not_fit_into_memory_streams() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let desk = about_nobody(columns(&["at", "x"]));
    let long =
        "SELECT n AS at, 'kept' AS kept, repeat('x', 1000) AS x FROM generate_series(1, 30000) n";
    let long = source(&desk, settings(&postgres, long));
    let all = streamed(&desk, &long).await.unwrap();
    let row = "x".repeat(1000);
    let rows: String = (1..=30_000).map(|at| format!("{at},{row}\n")).collect();
    assert!(all == format!("at,x\n{rows}").into_bytes(), "{} bytes", all.len());
    until_idle(&postgres).await;
    // No column of it may leave.
    let none = about_nobody(columns(&["price"]));
    assert_eq!(cut(&none, &long, "").await.err(), Some(Refusal::TypeNotInAgreement));
    until_idle(&postgres).await;
}

#[tokio::test]
async fn a_result_that_breaks_off_is_an_error_and_never_an_end() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let desk = about_nobody(AllowList::Everything);
    let broken =
        "SELECT 1 / (20000 - n) AS y, repeat('x', 1000) AS x FROM generate_series(1, 30000) n";
    let broken = source(&desk, settings(&postgres, broken));
    let (refusal, pieces) = streamed(&desk, &broken).await.unwrap_err();
    assert_eq!(refusal, Refusal::UpstreamMalformed);
    assert!((200..320).contains(&pieces), "{pieces}");
    let slow = "SELECT CASE WHEN n > 5000 THEN (SELECT count(*) \
        FROM generate_series(1, 1000000000)) END AS s, repeat('x', 1000) AS x \
        FROM generate_series(1, 9000) n";
    let slow = PostgresSettings {
        statement_wait_max: Duration::from_millis(1500),
        ..settings(&postgres, slow)
    };
    let (refusal, _) = streamed(&desk, &source(&desk, slow)).await.unwrap_err();
    assert_eq!(refusal, Refusal::QueryTooSlow);
    until_idle(&postgres).await;
}

#[tokio::test]
async fn a_result_that_nobody_takes_further_is_cancelled_and_gives_its_connection_back() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask(TABLES);
    let desk = about_nobody(AllowList::Everything);
    // In the list of columns it is not gathered first.
    let long = "SELECT repeat('x', 1000) AS x, generate_series(1, 1000000000) AS n";
    let long = PostgresSettings { connections_max: 1, ..settings(&postgres, long) };
    let long = source(&desk, long);
    for read_on in [false, true] {
        let reading = Arc::clone(&long).describe(ask_dataset("", 0)).await.unwrap();
        let permit = desk.permit(&long, &reading);
        let Reading::Result(result) = &reading else { panic!("{reading:?}") };
        let mut chunks = result.open(&permit).unwrap();
        let wanted = if read_on { 40 } else { 3 };
        for _ in 0..wanted {
            assert_eq!(chunks.next().await.unwrap().unwrap().len(), CHUNK_LEN);
        }
        drop((chunks, reading));
        until_idle(&postgres).await;
    }
}

#[tokio::test]
async fn a_server_over_tcp_is_believed_by_its_certificate_and_given_a_password() {
    let validity = Validity { from_s: 0, until_s: 4_000_000_000 };
    let authority = Authority::create("database of RZ9", validity).unwrap();
    let id = SpiffeId {
        mesh: "dev.example".parse().unwrap(),
        member: "RZ9".parse().unwrap(),
        role: Role::Ledger,
        name: "1".to_owned(),
    };
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let issued = authority.issue(&id, &[here], validity).unwrap();
    let (certificate_pem, key_pem) = (&*issued.certificate_pem, &*issued.key_pem);
    let Some(postgres) = Postgres::start(Some(Identity { certificate_pem, key_pem })) else {
        return;
    };
    postgres.ask(TABLES);
    let desk = about_nobody(AllowList::Everything);
    let path = |name: &str| desk.path().join(name);
    fs::write(path("ca.pem"), authority.certificate_pem()).unwrap();
    let other = Authority::create("somebody else", validity).unwrap();
    fs::write(path("other.pem"), other.certificate_pem()).unwrap();
    fs::write(path("password"), "s3cret\n").unwrap();
    let over_tcp = |ca: Option<&str>| PostgresSettings {
        server: PostgresServer::Tcp {
            host: "127.0.0.1".to_owned(),
            tls: ca.map(|ca| PostgresTls { ca: path(ca), identity: None }),
        },
        password: Some(Secret::File(path("password"))),
        ..settings(&postgres, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    };
    let secure = source(&desk, over_tcp(Some("ca.pem")));
    assert_eq!(text(&desk, &secure, "").await.unwrap(), "ssl\nt\n");
    let clear = source(&desk, over_tcp(None));
    assert_eq!(text(&desk, &clear, "").await.unwrap(), "ssl\nf\n");
    let stranger = source(&desk, over_tcp(Some("other.pem")));
    assert_eq!(text(&desk, &stranger, "").await, Err(Refusal::UpstreamUnreachable));
    // The file is read again for each connection.
    fs::write(path("password"), "wrong\n").unwrap();
    assert_eq!(text(&desk, &secure, "").await, Err(Refusal::UpstreamRefused));
    fs::write(path("password"), "s3cret\n").unwrap();
    assert!(text(&desk, &secure, "").await.is_ok());
    assert!(!format!("{:?}", over_tcp(None)).contains("s3cret"));
    postgres.stop();
    assert_eq!(text(&desk, &secure, "").await, Err(Refusal::UpstreamUnreachable));
}

#[test]
fn the_keys_of_a_postgres_source_are_read_and_their_faults_told() {
    let read = |text: &str| {
        let found = tally_core::file::read(text, 4096, &[], |reader, mut keys| {
            let value = reader.required(&mut keys, "source")?;
            reader.close(keys);
            SourceSettings::read_all(reader, Path::new("base"), &value)
        });
        found.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let head = "[[source]]\nid = \"spend\"\nkind = \"postgres\"\ndatabase = \"d\"\nuser = \"u\"\n\
        person = \"none\"\n";
    let query = "query = \"SELECT :year\"\nparameters = { year = \"integer\" }\n";
    let socket = "socket = \"run\"\n";
    let found = read(&format!("{head}{socket}{query}")).unwrap();
    let SourceKind::Postgres(found) = &found[0].kind else { panic!("{found:?}") };
    assert_eq!(found.server, PostgresServer::Socket("base/run".into()));
    assert_eq!((found.port, found.connections_max), (5_432, 4));
    assert_eq!(found.statement_wait_max, Duration::from_secs(8));
    for (rest, problem) in [
        (query.to_owned(), "source[0].host: is missing"),
        (
            format!("{socket}host = \"x\"\n{query}"),
            "source[0].host: the server has a socket or a host",
        ),
        (
            format!("host = \"db.example\"\ntls = \"off\"\n{query}"),
            "source[0].host: tls = \"off\" is for",
        ),
        (format!("host = \"db.example\"\n{query}"), "source[0].host: tls needs ca"),
        (format!("{socket}query = \"SELECT :a\"\n"), "source[0].query: the query has :a"),
        (
            format!("{socket}{query}password_file = \"x\"\npassword_env = \"X\"\n"),
            "a file or a variable",
        ),
        (
            format!("{socket}query = \"SELECT 1; DROP TABLE x\"\n"),
            "source[0].query: expected one query",
        ),
        (format!("{socket}{query}port = 70000\n"), "source[0].port: at most 65535"),
        (
            format!("{socket}query = \"SELECT :a\"\nparameters = {{ a = \"bytes\" }}\n"),
            "source[0].parameters.a: expected one of",
        ),
    ] {
        let problems = read(&format!("{head}{rest}")).unwrap_err();
        assert!(problems.iter().any(|it| it.contains(problem)), "{rest}: {problems:?}");
    }
    assert!(read(&format!("{head}host = \"localhost\"\ntls = \"off\"\n{query}")).is_ok());
}
