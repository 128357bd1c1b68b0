//! Whom alerts are sent to, on real sockets.

use std::net::IpAddr;

use tally_net::authority::Validity;
use tally_net::rustls::ServerConfig;
use tally_net::rustls::pki_types::PrivateKeyDer;
use tally_net::{Authority, Role, SpiffeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn alerts_leave_this_machine_encrypted_or_not_at_all() {
    let ca = Some(Path::new("ca.pem"));
    assert!(Webhook::new("https://alerts.example/hook?key=1", ca).is_ok());
    assert!(Webhook::new("http://127.0.0.1:8080/hook", None).is_ok());
    assert!(Webhook::new("http://[::1]:8080", None).is_ok());
    let clear = Webhook::new("http://alerts.example/hook", ca);
    assert!(matches!(clear, Err(BadWebhook::Clear)));
    let nobody = Webhook::new("https://alerts.example/hook", None);
    assert!(matches!(nobody, Err(BadWebhook::NoAuthority)));
    for bad in ["alerts.example", "ftp://127.0.0.1/", "https://", "https://a@b/c", ""] {
        assert!(matches!(Webhook::new(bad, ca), Err(BadWebhook::Form)), "{bad}");
    }
}

#[test]
fn the_path_of_a_webhook_may_hold_a_secret_and_is_not_printed() {
    let webhook = Webhook::new("http://127.0.0.1:8080/hook/s3cret", None).unwrap();
    assert!(!format!("{webhook:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_alert_goes_to_whom_the_authorities_vouch_for_and_to_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let validity = Validity { from_s: 0, until_s: 4_000_000_000 };
    let authority = Authority::create("alerts of RZ9", validity).unwrap();
    let other = Authority::create("somebody else", validity).unwrap();
    let (ca, other_ca) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    std::fs::write(&ca, authority.certificate_pem()).unwrap();
    std::fs::write(&other_ca, other.certificate_pem()).unwrap();

    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor(&authority, validity);
    let served = tokio::spawn(async move {
        let mut taken = Vec::new();
        // The first of the two callers does not believe the certificate.
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 4096];
            while !taken.ends_with(b"{}\n") {
                let read = stream.read(&mut buffer).await.unwrap();
                taken.extend_from_slice(&buffer[..read]);
            }
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
        String::from_utf8(taken).unwrap()
    });
    let address = format!("https://127.0.0.1:{port}/hook?key=1");
    let caller = |ca| Caller::new(&Webhook::new(&address, Some(ca)).unwrap()).unwrap();
    caller(&other_ca).post(b"{}\n".to_vec()).await.unwrap_err();
    caller(&ca).post(b"{}\n".to_vec()).await.unwrap();
    let taken = served.await.unwrap();
    assert!(taken.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{taken}");
    assert_eq!(taken.matches("POST").count(), 1, "{taken}");

    std::fs::write(&ca, "no certificate").unwrap();
    let webhook = Webhook::new(&address, Some(&ca)).unwrap();
    assert!(matches!(Caller::new(&webhook), Err(BadWebhook::Authority { .. })));
}

fn acceptor(authority: &Authority, validity: Validity) -> TlsAcceptor {
    let id = SpiffeId {
        mesh: "dev.example".parse().unwrap(),
        member: "RZ9".parse().unwrap(),
        role: Role::Ledger,
        name: "1".to_owned(),
    };
    let issued = authority.issue(&id, &[HERE], validity).unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
