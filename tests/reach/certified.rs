//! Commands that ask as applications do, of an ingress that asks applications for certificates.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use tally_net::authority::Validity;
use tally_net::{Authority, Issued};
use tally_tests::dev::{Dev, Ran};

use super::world::{COUNCIL, record, running};

fn authority(name: &str) -> Authority {
    Authority::create(name, validity()).unwrap()
}

fn validity() -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    Validity { from_s: now - 60, until_s: now + 3600 }
}

fn issue(ca: &Authority, name: &str) -> Issued {
    let id = format!("spiffe://dev.example/LZ9/sidecar/{name}").parse().unwrap();
    ca.issue(&id, &[Ipv4Addr::LOCALHOST.into()], validity()).unwrap()
}

fn write(dev: &Dev, name: &str, text: &str) -> PathBuf {
    let path = dev.dir_of(COUNCIL).join(name);
    fs::write(&path, text).unwrap();
    path
}

fn written(dev: &Dev, name: &str, issued: &Issued) -> [String; 2] {
    let cert = write(dev, &format!("{name}.pem"), &issued.certificate_pem);
    let key = write(dev, &format!("{name}.key"), &issued.key_pem);
    [cert, key].map(|it| it.display().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_the_certificate_of_an_application_and_know_the_ingress_by_its_own() {
    let dev = running().await;
    let (ca, others) = (authority("applications"), authority("others"));
    write(&dev, "applications.pem", ca.certificate_pem());
    written(&dev, "ingress", &issue(&ca, "ingress"));
    let file = dev.dir_of(COUNCIL).join("tally.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[ingress]\nlisten = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let tls = "[ingress]\nlisten = \"0.0.0.0:0\"\ncert = \"ingress.pem\"\nkey = \"ingress.key\"\n\
               client_ca = \"applications.pem\"\n";
    fs::write(&file, format!("{before}{tls}{after}")).unwrap();
    dev.stop(COUNCIL).await.unwrap();
    dev.start_again(COUNCIL).await.unwrap();

    let path = record(0);
    let get = ["get", &path, "--purpose", "TREAT", "--user", "https://staff.example|wren-4471"];
    let ran = async |args: &[&str], shown: &[String]| -> Ran {
        let shown = match shown {
            [cert, key] => vec!["--cert", cert.as_str(), "--key", key.as_str()],
            _ => Vec::new(),
        };
        dev.tally(COUNCIL, &[args, &shown].concat()).await.unwrap()
    };
    let ward = written(&dev, "ward", &issue(&ca, "ward"));
    let got = ran(&get, &ward).await.done().unwrap();
    assert!(got.out.contains("\"Patient\""), "{}", got.out);
    ran(&["catalogue"], &ward).await.done().unwrap();
    let listed = ran(&["data", "list"], &ward).await.done().unwrap();
    assert!(listed.out.contains("/data/RZ9/beds"), "{}", listed.out);
    let to = dev.dir().join("beds.csv").display().to_string();
    let fetch = ["data", "get", "RZ9/beds", "--to", &to, "--purpose", "local:PLANNING"];
    ran(&fetch, &ward).await.done().unwrap();

    // Without one, that is said; and who is not of the applications' CA is not heard.
    let none = ran(&get, &[]).await;
    assert_eq!(none.code, Some(2), "{}", none.said);
    assert!(none.said.contains("--cert FILE --key FILE"), "{}", none.said);
    let stranger = written(&dev, "stranger", &issue(&others, "ward"));
    let unheard = ran(&get, &stranger).await;
    assert_eq!(unheard.code, Some(3), "{}", unheard.said);
    // Somebody else who answers there is not told what is asked, although the same CA issued it.
    let text = fs::read_to_string(&file).unwrap();
    written(&dev, "other", &issue(&ca, "other"));
    fs::write(&file, text.replace("cert = \"ingress.pem\"", "cert = \"other.pem\"")).unwrap();
    let other = ran(&get, &ward).await;
    assert_eq!(other.code, Some(3), "{}", other.said);
}
