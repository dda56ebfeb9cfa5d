//! Tests of the endpoint's URLs and of the default socket.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn parse(url: &str) -> Result<Endpoint, EndpointError> {
    Endpoint::parse(url, false)
}

fn around(daffi_socket: Option<&str>, xdg: Option<&str>) -> Surroundings {
    Surroundings {
        daffi_socket: daffi_socket.map(Into::into),
        xdg_runtime_dir: xdg.map(Into::into),
        temp_dir: "/tmp".into(),
        cache_dir: None,
        uid: 1000,
    }
}

#[test]
fn urls_are_shown_as_they_were_written() {
    for url in [
        "unix:///run/me/c.sock",
        "tcp://127.0.0.1:8888",
        "tcp://localhost:0",
        "tcp://[::1]:80",
        "tls://example.org:1",
        "tls://[::]:0",
    ] {
        assert_eq!(parse(url).unwrap().to_string(), url);
    }
}

#[test]
fn plain_tcp_off_loopback_needs_insecure() {
    for url in ["tcp://0.0.0.0:8888", "tcp://example.org:1", "tcp://[::]:1", "tcp://10.0.0.1:5"] {
        assert!(matches!(parse(url), Err(EndpointError::Insecure { .. })), "{url}");
        assert!(Endpoint::parse(url, true).is_ok(), "{url}");
    }
}

#[test]
fn later_schemes_are_refused_by_name() {
    let message = parse("nats://host:4222").unwrap_err().to_string();
    assert!(message.contains("not supported by this version"), "{message}");
    assert!(matches!(parse("http://x"), Err(EndpointError::UnknownScheme { .. })));
}

#[test]
fn a_url_without_a_scheme_is_answered_with_the_right_one() {
    assert!(parse("/run/x.sock").unwrap_err().to_string().contains("unix:///run/x.sock"));
    assert!(parse("127.0.0.1:8888").unwrap_err().to_string().contains("tcp://127.0.0.1:8888"));
    assert!(matches!(parse("x"), Err(EndpointError::NoScheme { .. })));
}

#[test]
fn bad_addresses_say_what_is_wrong() {
    for (url, part) in [
        ("tcp://localhost", "port is missing"),
        ("tcp://localhost:x", "no number"),
        ("tcp://localhost:70000", "no number"),
        ("tcp://:80", "host is missing"),
        ("tcp://::1:80", "brackets"),
        ("tcp://[::1:80", "bracket"),
        ("tls://localhost", "write tls://127.0.0.1:8888"),
        ("unix://relative/path", "absolute"),
        ("unix://", "absolute"),
    ] {
        let message = parse(url).unwrap_err().to_string();
        assert!(message.contains(part), "{url}: {message}");
    }
}

#[test]
fn a_socket_path_over_107_bytes_is_an_error() {
    let fits = format!("unix:///{}", "x".repeat(106));
    let over = format!("unix:///{}", "x".repeat(107));
    assert!(parse(&fits).is_ok());
    assert!(matches!(parse(&over), Err(EndpointError::PathTooLong { length: 108, .. })));
}

#[test]
fn the_default_socket_is_the_first_of_three_places() {
    let url = |around| Endpoint::default_socket(&around).unwrap().to_string();
    assert_eq!(url(around(Some("/a/b.sock"), Some("/run/user/1"))), "unix:///a/b.sock");
    assert_eq!(url(around(Some("unix:///a/b.sock"), None)), "unix:///a/b.sock");
    assert_eq!(url(around(None, Some("/run/user/1"))), "unix:///run/user/1/daffi/controller.sock");
    assert_eq!(url(around(None, None)), "unix:///tmp/daffi-1000/controller.sock");
    assert!(Endpoint::default_socket(&around(Some("relative.sock"), None)).is_err());
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let uid = rustix::process::getuid().as_raw();
    let set = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o700);
    assert_eq!(check_private_folder(folder.path(), uid), Ok(true));
    set(0o755);
    let message = check_private_folder(folder.path(), uid).unwrap_err().to_string();
    assert!(message.contains("mode 0755"), "{message}");
    set(0o700);
    assert!(check_private_folder(folder.path(), uid + 1).unwrap_err().to_string().contains("belongs to uid"));
    assert_eq!(check_private_folder(&folder.path().join("missing"), uid), Ok(false));
}

#[test]
fn a_link_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let uid = rustix::process::getuid().as_raw();
    assert!(check_private_folder(&link, uid).unwrap_err().to_string().contains("is no folder"));
}

#[test]
fn the_folder_of_a_named_socket_may_be_looked_into_and_is_refused_where_everybody_can_replace_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let set = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o700, 0o755, 0o775, 0o1777] {
        set(mode);
        assert_eq!(check_named_folder(folder.path()), Ok(()), "{mode:o}");
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    for mode in [0o777, 0o702, 0o2777] {
        set(mode);
        for path in [folder.path(), &link] {
            let message = check_named_folder(path).unwrap_err().to_string();
            assert!(message.contains(&format!("mode {mode:04o}")) && message.contains("chmod o-w"), "{message}");
            assert!(!message.contains("--listen"), "{message}");
        }
    }
    set(0o700);
    let message = check_named_folder(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(message.contains("missing of the controller's socket is not there; make it first, or"), "{message}");
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(check_named_folder(&folder.path().join("file")).unwrap_err().to_string().contains("is no folder"));
}
