//! Which directories open, and what the others say.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn refused(settings: StoreSettings) -> &'static str {
    let error = Store::open(settings).unwrap_err();
    assert!(!error.to_string().is_empty());
    error.code()
}

/// A store that was used and closed.
async fn used() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    for number in 0..100 {
        store.store_opening(opening(number, &[NUMBER])).await.unwrap();
    }
    store.close();
    directory
}

#[tokio::test]
async fn a_store_opens_for_its_own_member_and_mesh_alone() {
    let directory = used().await;
    let own = settings(directory.path());
    assert_eq!(
        refused(StoreSettings { member: "LZ9".parse().unwrap(), ..own.clone() }),
        "store-other-member"
    );
    let mesh_id = MeshId(Hash::from_bytes([4; 32]));
    assert_eq!(refused(StoreSettings { mesh_id, ..own.clone() }), "store-other-mesh");
    assert_eq!(refused(StoreSettings { consent_registers: 0, ..own.clone() }), "consent-registers");
    assert_eq!(refused(StoreSettings { consent_registers: 257, ..own }), "consent-registers");
    store_in(&directory).close();
}

#[tokio::test]
async fn a_store_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    assert_eq!(refused(settings(directory.path())), "store-locked");
    store.close();
    store_in(&directory).close();
}

#[tokio::test]
async fn a_store_that_was_there_is_never_made_anew() {
    let directory = used().await;
    let path = |name: &str| directory.path().join(name);
    let refusal_without = |name: &str| {
        let kept = fs::read(path(name)).unwrap();
        fs::remove_file(path(name)).unwrap();
        let code = refused(settings(directory.path()));
        fs::write(path(name), kept).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        code
    };
    assert_eq!(refusal_without("store.sqlite"), "store-missing");
    assert_eq!(refusal_without("store.key"), "store-key-missing");

    let kept = fs::read(path("store.sqlite")).unwrap();
    fs::write(path("store.sqlite"), b"").unwrap();
    assert_eq!(refused(settings(directory.path())), "store-missing");
    fs::write(path("store.sqlite"), kept).unwrap();
    store_in(&directory).close();
}

#[tokio::test]
async fn a_key_is_this_stores_and_its_owners() {
    let directory = used().await;
    let key = directory.path().join("store.key");
    let kept = fs::read(&key).unwrap();
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    mode(0o644);
    assert_eq!(refused(settings(directory.path())), "store-key-exposed");
    mode(0o600);
    fs::write(&key, &kept[1..]).unwrap();
    assert_eq!(refused(settings(directory.path())), "store-key-malformed");
    fs::write(&key, [7; 32]).unwrap();
    assert_eq!(refused(settings(directory.path())), "store-key-other");
    fs::write(&key, kept).unwrap();
    store_in(&directory).close();
}

#[tokio::test]
async fn a_damaged_database_does_not_open() {
    let directory = used().await;
    let path = directory.path().join("store.sqlite");
    let whole = fs::read(&path).unwrap();
    // A page in the middle, and the end, are gone.
    let mut broken = whole.clone();
    let middle = whole.len() / 2 / 4096 * 4096;
    broken[middle..middle + 4096].fill(0xa5);
    for bytes in [&broken[..], &whole[..whole.len() - 8192], &whole[..5000]] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused(settings(directory.path())), "store-damaged");
    }
    fs::write(&path, b"this is a text, and not a database, however long it may be").unwrap();
    assert_eq!(refused(settings(directory.path())), "store-damaged");
    fs::write(&path, whole).unwrap();
    store_in(&directory).close();
}

#[tokio::test]
async fn a_later_form_and_another_programs_database_do_not_open() {
    let directory = used().await;
    let change = |name: &str, value: i64| {
        let db = Connection::open(directory.path().join("store.sqlite")).unwrap();
        db.pragma_update(None, name, value).unwrap();
        db.close().unwrap();
    };
    change("user_version", schema::FORM + 1);
    assert_eq!(refused(settings(directory.path())), "store-newer");
    change("user_version", schema::FORM);
    change("application_id", 0);
    assert_eq!(refused(settings(directory.path())), "store-unknown");
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    store_in(&directory).close();
    let path = |name: &str| directory.path().join(name);
    // The moment before the key gets its name.
    fs::rename(path("store.key"), path("store.key.new")).unwrap();
    store_in(&directory).close();
    assert!(path("store.key").exists() && !path("store.key.new").exists());
    // And the one before the database is there.
    fs::remove_file(path("store.sqlite")).unwrap();
    fs::rename(path("store.key"), path("store.key.new")).unwrap();
    store_in(&directory).close();
}
