//! Members that nobody can dial, any port, and addresses that change on the way.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tally_tests::relay::Relay;

use super::beside::flow_len;
use super::world::{COUNCIL, PLANNING, PROVIDER, TREAT, dataset, record, running};

/// What becomes true does so within this time, on a machine that is busy.
const TRUE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The members agree on where the provider's agent is reached.
async fn registered(dev: &Dev, address: &str) {
    let paper = dev.files().join("address.json").display().to_string();
    let set = format!("address={address}");
    let args = ["member", "propose", "--member", PROVIDER, "--set", &set, "--to", &paper];
    dev.tally(PROVIDER, &args).await.unwrap().done().unwrap();
    for officer in [PROVIDER, COUNCIL] {
        dev.tally(officer, &["member", "approve", &paper]).await.unwrap().done().unwrap();
    }
}

/// The provider's agent listens somewhere else from its next start on.
fn listens(dev: &Dev, address: &str) {
    let path = dev.dir_of(PROVIDER).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("[quic]\nlisten = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    fs::write(&path, format!("{before}[quic]\nlisten = \"{address}\"{after}")).unwrap();
}

async fn again(dev: &Dev, member: &str) {
    dev.stop(member).await.unwrap();
    dev.start_again(member).await.unwrap();
}

/// Waits until the council is given a record.
async fn given(dev: &Dev, place: usize) {
    let given = until("a record", TRUE_WAIT_MAX, async || {
        let answer = dev.get(COUNCIL, &record(place), TREAT).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.code()) }
    });
    given.await.unwrap();
}

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_only_dials_out_provides_too() {
    let dev = running().await;
    registered(&dev, "none").await;
    // Nobody knows its port, and nobody is told.
    listens(&dev, "127.0.0.1:0");
    again(&dev, PROVIDER).await;
    given(&dev, 0).await;
    // Whoever asks begins anew, and is dialled again; so does whoever provides, killed in the middle.
    again(&dev, COUNCIL).await;
    given(&dev, 1).await;
    dev.kill(PROVIDER).await.unwrap();
    let away = dev.get(COUNCIL, &record(2), TREAT).await.unwrap();
    assert_eq!((away.status, away.code().as_str()), (502, "unreachable"), "{}", away.json());
    dev.start_again(PROVIDER).await.unwrap();
    given(&dev, 2).await;
    let flow = dev.get(COUNCIL, &dataset("flow"), PLANNING).await.unwrap();
    assert_eq!((flow.status, flow.body.len(), flow.whole), (200, flow_len(&dev), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_reached_at_port_443_as_at_any_other() {
    // An address of this machine that nobody else has.
    let address = "127.0.0.43:443";
    if let Err(why) = UdpSocket::bind(address) {
        eprintln!("not run: {address}: {why}");
        return;
    }
    let dev = running().await;
    registered(&dev, address).await;
    listens(&dev, address);
    again(&dev, PROVIDER).await;
    again(&dev, COUNCIL).await;
    given(&dev, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_when_a_nat_on_the_way_forgets_it() {
    let dev = running().await;
    let known: SocketAddr = dev.member(PROVIDER)["quic"].as_str().unwrap().parse().unwrap();
    // Behind the address that everybody knows, a NAT; behind that, the agent.
    let behind = free_port();
    listens(&dev, &behind.to_string());
    again(&dev, PROVIDER).await;
    let relay = Relay::start(known, behind).await.unwrap();
    given(&dev, 0).await;
    assert!(relay.carried() > 0);

    let mut arriving = dev.open("GET", COUNCIL, &dataset("flow"), PLANNING).await.unwrap();
    assert_eq!(arriving.status, 200);
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    let mut len = arriving.next().await.unwrap().unwrap().len();
    let (lines, before) = (dev.log(COUNCIL).len(), relay.carried());
    // Again and again, with most of the body still to come.
    for _ in 0..3 {
        assert!(relay.rebind() > 0);
        for _ in 0..8 {
            len += arriving.next().await.unwrap().unwrap().len();
        }
    }
    let rest = arriving.all().await.unwrap();
    assert_eq!((len + rest.body.len(), rest.whole), (flow_len(&dev), true));
    assert!(relay.carried() > before);
    // It is one exchange, and both halves of it are there.
    let rows = dev.entries_of(&exchange, 3).await.unwrap();
    let halves: Vec<_> = rows.iter().map(|row| row["half"].as_str().unwrap_or_default()).collect();
    assert_eq!(halves.iter().filter(|half| **half == "provider").count(), 1, "{rows:?}");
    let said = dev.log(COUNCIL);
    assert!(!said.get(lines..).unwrap_or_default().contains("unreachable"), "{said}");
    given(&dev, 1).await;
}
