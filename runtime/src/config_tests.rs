//! Tests of flags and config file together.

use clap::Parser;

use super::*;
use crate::cli::args::Cli;
use crate::guest::grants::{Act, Grants};

fn around() -> Surroundings {
    Surroundings {
        daffi_socket: None,
        xdg_runtime_dir: Some("/run/u".into()),
        temp_dir: "/tmp".into(),
        cache_dir: None,
        uid: 1,
    }
}

fn with(command: &str) -> Result<RuntimeConfig, String> {
    let words = std::iter::once("daffi-runtime").chain(command.split_whitespace());
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    resolve(cli.run, &around()).map_err(|error| error.to_string())
}

/// A config file, and flags behind it.
fn with_file(text: &str, command: &str) -> Result<RuntimeConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daffi.toml");
    std::fs::write(&path, text).unwrap();
    let result = with(&format!("--config {} {command}", path.display()));
    result.map_err(|error| error.replace(&folder.path().display().to_string(), "DIR"))
}

fn names(config: &RuntimeConfig) -> Vec<&str> {
    config.modules.iter().map(|module| module.process.name.as_str()).collect()
}

#[test]
fn a_process_is_named_by_its_flag_then_the_runtime_then_the_file() {
    assert_eq!(names(&with("--name n --module a/publisher.wasm").unwrap()), ["n"]);
    assert_eq!(names(&with("--module a/publisher.wasm").unwrap()), ["publisher"]);
    assert_eq!(names(&with("--name n --module x=a.wasm").unwrap()), ["x"]);
    assert_eq!(names(&with("--name n --module a.wasm --module b.wasm").unwrap()), ["a", "b"]);
    assert_eq!(with("--name n --module a.wasm").unwrap().name, "n");
    assert!(with("--module a.wasm").unwrap().name.ends_with(&format!("-{}", std::process::id())));
}

#[test]
fn a_path_with_an_equals_sign_is_no_name() {
    assert_eq!(with("--module ./a=b.wasm").unwrap_err().lines().count(), 1, "the stem a=b is no name");
    let config = with("--module x=./a=b.wasm").unwrap();
    assert_eq!(config.modules[0].path, PathBuf::from("./a=b.wasm"));
}

#[test]
fn two_processes_of_one_name_are_an_error() {
    let error = with("--module a.wasm --module b/a.wasm").unwrap_err();
    assert!(error.contains("two modules are named \"a\""), "{error}");
}

#[test]
fn a_name_may_be_used_once_in_each_tenant() {
    let file = "[[module]]\npath = 'a.wasm'\ntenant = 'acme'\n[[module]]\npath = 'a.wasm'\n";
    let processes = |config: &RuntimeConfig| -> Vec<String> {
        config.modules.iter().map(|module| module.process.to_string()).collect()
    };
    let config = with_file(file, "").unwrap();
    assert_eq!(processes(&config), ["acme::a", "a"]);
    assert_eq!(config.tenants(), ["acme", "default"].map(|name| TenantName::new(name).unwrap()));
    // The flag is for the modules of the flags: those of the file say their own.
    let config = with_file(file, "--tenant globex --module b=b.wasm").unwrap();
    assert_eq!(processes(&config), ["acme::a", "a", "globex::b"]);
    let error = with_file(file, "--tenant acme --module a.wasm").unwrap_err();
    assert!(error.contains("two modules are named \"acme::a\""), "{error}");
    let error = with_file("[[module]]\npath = 'a.wasm'\ntenant = 'no such'", "").unwrap_err();
    assert!(error.contains("DIR/daffi.toml:3:") && error.contains("tenant"), "{error}");
    let error = with("--controller --tenant acme").unwrap_err();
    assert!(error.contains("--tenant acme is for modules that --module gives, and there is none: give one"), "{error}");
    let error = with_file(file, "--tenant globex").unwrap_err();
    assert!(error.contains("says its own, `tenant = \"globex\"` in its [[module]]"), "{error}");
}

#[test]
fn flags_that_do_not_go_together_are_errors_with_advice() {
    for (command, part) in [
        ("--insecure", "nothing to do"),
        ("--name x", "nothing to do"),
        ("--no-node --module a.wasm", "without --controller"),
        ("--controller --no-node --module a.wasm", "--no-node or --module"),
        ("--controller --connect tcp://127.0.0.1:1", "exclude each other"),
        ("--listen tcp://127.0.0.1:1 --module a.wasm", "say --controller too"),
        ("--connect tcp://127.0.0.1:0 --module a.wasm", "real port"),
        ("--connect nats://h:1 --module a.wasm", "not supported by this version"),
        ("--connect tls://h:0 --tls-ca a --join-token-file t --module a.wasm", "real port"),
        ("--connect tls://h:1 --module a.wasm", "give --tls-ca"),
        ("--connect tls://h:1 --tls-ca a --module a.wasm", "must prove itself"),
        ("--connect tls://h:1 --tls-ca a --tls-cert c --module a.wasm", "give --tls-key"),
        ("--connect tls://h:1 --tls-ca a --tls-key c --module a.wasm", "give --tls-cert"),
        ("--controller --listen tls://h:1 --tls-ca a", "give --tls-cert and --tls-key"),
        ("--controller --listen tls://h:1 --tls-cert c --tls-key k", "whom to let in"),
        ("--controller --listen tcp://127.0.0.1:1 --join-token-file t", "are for tls:// endpoints"),
        ("--controller --listen tcp://0.0.0.0:1", "--insecure"),
        ("--controller --max-payload 1B", "from 1KiB"),
        ("--controller --module a.wasm --output-rate 1B", "from 1KiB"),
        ("--controller --name a/b", "is no process name"),
    ] {
        let error = with(command).unwrap_err();
        assert!(error.contains(part), "{command}: {error}");
    }
}

#[test]
fn keys_that_do_not_go_together_are_told_as_keys_of_their_file_and_flags_as_flags() {
    let module = "[[module]]\npath = 'a.wasm'\n";
    for (runtime, modules, message) in [
        (
            "no-node = true",
            "",
            "`no-node` leaves nothing to do without `controller`: say `controller = true` too, or leave",
        ),
        (
            "controller = true\nno-node = true",
            module,
            "`no-node` means a controller without modules, and there is one: leave",
        ),
        (
            "name = 'x'",
            "",
            "nothing to do: give it a [[module]] with a `path`, `controller = true` in [runtime], or both",
        ),
        (
            "listen = ['tcp://127.0.0.1:1']",
            module,
            "`listen` is for the controller: say `controller = true` too, or `connect`",
        ),
        ("connect = 'tcp://127.0.0.1:0'", module, "`connect` needs the controller's real port; 0 is for `listen`"),
        ("connect = 'tls://h:1'", module, "`connect` tls://… must know its controller: give `tls-ca`"),
        (
            "controller = true\nstate-dir = 's'",
            "",
            "`state-dir` keeps what modules have scheduled, and there is no module",
        ),
        ("cache-dir = 'c'\nno-cache = true", module, "`cache-dir` and `no-cache` exclude each other"),
        (
            "metrics = '0.0.0.0:1'",
            module,
            "`metrics` 0.0.0.0:1 is open to whoever reaches the port: use 127.0.0.1, or say `insecure = true`",
        ),
        ("controller = true\nmetrics = '127.0.0.1:1'", "", "`metrics` tells what modules use, and there is no module"),
        (
            "",
            &format!("{module}{module}"),
            "two modules are named \"a\": give one of them another `name` in its [[module]]",
        ),
        ("", "[[module]]\npath = 'a b.wasm'", "; name the process with `name` in its [[module]]"),
        ("", &format!("{module}env = {{ '' = 'x' }}"), "env of a: \"\" and its value are no environment variable"),
        ("", &format!("{module}[tenant.acme]\n"), "[tenant.acme]: no module here is of this tenant"),
    ] {
        let error = with_file(&format!("[runtime]\n{runtime}\n{modules}"), "").unwrap_err();
        assert!(error.starts_with("DIR/daffi.toml: ") && error.contains(message), "{runtime}: {error}");
        assert!(!error.contains("--"), "{error}");
    }
    let of_flags = with_file(module, "--metrics 0.0.0.0:1").unwrap_err();
    assert!(of_flags.starts_with("--metrics 0.0.0.0:1 is open"), "{of_flags}");
    let of_flags = with_file(module, "--module a.wasm").unwrap_err();
    assert!(of_flags.contains("with --module NAME=PATH"), "{of_flags}");
}

#[test]
fn direct_links_over_tls_are_for_nodes_with_certificates_and_at_an_address_where_others_are() {
    let files = "--tls-ca a --tls-cert c --tls-key k";
    let config =
        with(&format!("--connect tls://h:1 {files} --join-token-file t --module a.wasm --direct tls://h:2")).unwrap();
    let DirectAccess::Tls { endpoint, files: of_it } = &config.direct else { panic!("{:?}", config.direct) };
    assert_eq!(endpoint.to_string(), "tls://h:2");
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(*of_it, TlsFiles { ca: path("a"), cert: path("c"), key: path("k"), join_token: None });
    const WHY: &str = "--direct tls://… proves nodes to each other by the certificates by which their controller knows them: give \
                       --connect tls://…, --tls-ca, --tls-cert and --tls-key; of who joins by token, over another socket or in the \
                       controller's own runtime it knows none";
    for before in [
        "",
        "--connect tcp://127.0.0.1:1",
        "--connect tls://h:1 --tls-ca a --join-token-file t",
        &format!("--controller --listen tls://h:1 {files}"),
    ] {
        assert_eq!(with(&format!("{before} --module a.wasm --direct tls://h:2")).unwrap_err(), WHY, "{before}");
    }
    let at = |url: &str| with(&format!("--connect tls://h:1 {files} --module a.wasm --direct {url}")).unwrap_err();
    for url in ["tls://0.0.0.0:1", "tls://[::]:1"] {
        let why = format!("--direct {url} is no address at which others reach this node: name one at which they do");
        assert_eq!(at(url), why);
    }
    assert_eq!(
        at("tsl://h:1"),
        "direct: \"tsl://h:1\" is neither \"unix\", \"off\", tls://HOST:PORT nor tcp://HOST:PORT, for links between runtimes without \
         the controller"
    );
    let error = with_file("[runtime]\ndirect = 'tls://h:2'\n[[module]]\npath = 'a.wasm'", "").unwrap_err();
    let said = "DIR/daffi.toml:2:10: `direct` tls://… proves nodes to each other";
    assert!(error.starts_with(said) && error.contains("give `connect` tls://…, `tls-ca`, `tls-cert`"), "{error}");
}

#[test]
fn the_default_socket_is_replaced_by_listen_and_connect() {
    let url = "unix:///run/u/daffi/controller.sock";
    assert_eq!(with("--controller").unwrap().listen[0].to_string(), url);
    assert_eq!(with("--module a.wasm").unwrap().connect.unwrap().to_string(), url);
    let config = with("--controller --listen tcp://127.0.0.1:1 --listen unix:///x.sock").unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(with("--controller --insecure --listen tcp://0.0.0.0:1").is_ok());
}

#[test]
fn a_file_says_what_flags_say() {
    let config = with_file(
        r#"
        [runtime]
        controller = true
        listen = ["tcp://127.0.0.1:7000"]
        drain-timeout = "2s"
        max-payload = "1MiB"
        [[module]]
        path = "a.wasm"
        instances = "pool:3"
        memory = "8MiB"
        queue = 5
        open-calls = 7
        open-streams = 9
        env = { A = "1", B = "2" }
        callbacks = ["demo:*"]
        fetchers = { "d:t/math-all" = "d:t/math" }
        may-call = ["demo:*", "acme::prices#of"]
        deny = ["watch", "broadcast"]
        on-cancel = "finish"
        [[module]]
        path = "/b.wasm"
        name = "second"
        "#,
        "--env B=3 --memory 16MiB",
    )
    .unwrap();
    assert_eq!(names(&config), ["a", "second"]);
    let [first, second] = config.modules.as_slice() else { panic!("two modules") };
    assert!(first.path.is_absolute() && first.path.ends_with("a.wasm"));
    assert_eq!(first.outside.env, [("A".into(), "1".into()), ("B".into(), "3".into())]);
    assert_eq!(first.limits.memory_bytes, 16 << 20);
    assert_eq!((first.limits.queue, first.limits.payload_bytes), (5, 1 << 20));
    assert_eq!((first.limits.open_calls, first.limits.open_streams), (7, 9));
    assert_eq!((first.instances, first.on_cancel), (InstancePolicy::Pool(3), Some(OnCancel::Finish)));
    let may_call = first.grants.may_call.iter().flatten().map(ToString::to_string);
    assert!(may_call.eq(["demo:*", "acme::prices#of"]) && first.grants.denied == [Act::Broadcast, Act::Watch].into());
    assert_eq!(second.grants, Grants::default());
    assert_eq!(second.outside.env, [("B".into(), "3".into())]);
    assert_eq!(config.drain_timeout, Duration::from_secs(2));
}

#[test]
fn schedules_are_kept_in_a_folder_beside_the_file_and_limited_for_each_module() {
    let module = "[[module]]\npath = \"a.wasm\"\nmax-schedules = 7";
    let config = with_file(&format!("[runtime]\nstate-dir = \"state\"\n{module}"), "").unwrap();
    assert_eq!(config.modules[0].limits.schedules, 7);
    let folder = config.state_dir.unwrap();
    assert!(folder.is_absolute() && folder.ends_with("state"), "{folder:?}");
    let error = with_file("[[module]]\npath = \"a.wasm\"\nmax-schedules = 1025", "").unwrap_err();
    assert!(error.contains("DIR/daffi.toml:3:17: 1025 is out of bounds: it is from 0 to 1024"), "{error}");
    let error = with("--controller --no-node --state-dir state").unwrap_err();
    assert!(error.contains("--state-dir") && error.contains("no module"), "{error}");
}

#[test]
fn an_environment_is_bounded_and_made_of_variables() {
    let config = with("--module a.wasm --env A=b=c").unwrap();
    assert_eq!(config.modules[0].outside.env, [("A".into(), "b=c".into())]);
    for (env, part) in [
        (format!("A = '{}'", "x".repeat(64 << 10)), "have 65537 bytes, at most 64KiB"),
        ("'' = 'x'".to_owned(), "no environment variable"),
        ("'A=B' = 'x'".to_owned(), "no environment variable"),
        ("A = \"\\u0000\"".to_owned(), "no environment variable"),
    ] {
        let error = with_file(&format!("[[module]]\npath = 'a.wasm'\nenv = {{ {env} }}"), "").unwrap_err();
        assert!(error.contains("env of a") && error.contains(part), "{error}");
    }
}

#[test]
fn no_module_may_have_larger_payloads_than_the_runtime() {
    let limits = |command: &str| {
        let config = with(&format!("--module a.wasm --max-payload 1MiB {command}")).unwrap();
        (config.modules[0].limits.max_arguments(), config.modules[0].limits.max_result())
    };
    assert_eq!(limits(""), (1 << 20, 1 << 20));
    assert_eq!(limits("--max-arguments 8B --max-result 2MiB"), (8, 1 << 20));
}

#[test]
fn mistakes_in_a_file_are_told_with_their_place() {
    for (text, message) in [
        ("[runtime]\nnmae = \"x\"", "DIR/daffi.toml:2:1: unknown key `nmae`"),
        ("[[module]]\npath = \"a\"\n  memory = \"lots\"", "DIR/daffi.toml:3:12: \"lots\" is no size"),
        (
            "[[module]]\npath = 'a'\nmemory = 64",
            "DIR/daffi.toml:3:10: \"64\" is no size: write a number with B, KiB, MiB or GiB, such as 256MiB, in quotes",
        ),
        (
            "[runtime]\ndrain-timeout = 2.5",
            "DIR/daffi.toml:2:17: \"2.5\" is no time: write a number with ms, s, m, h or days",
        ),
        ("[runtime]\nmax-payload = '64MB'", "DIR/daffi.toml:2:15: \"64MB\" is no size"),
        (
            "[[module]]\npath = 'a'\nmemory = []",
            "DIR/daffi.toml:3:10: invalid type: sequence, expected a text in quotes",
        ),
        ("[runtime]\nmetrics = '19465'", "DIR/daffi.toml:2:11: \"19465\" is no address"),
        ("[runtime]\nmetrics = 19465", "DIR/daffi.toml:2:11: \"19465\" is no address"),
        ("[[module]]\npath = \"a\"\ninstances = \"pool:0\"", "DIR/daffi.toml:3:13: \"pool:0\" is no way to keep"),
        ("[runtime]\ncontroller = 1", "DIR/daffi.toml:2:14: invalid type: integer `1`, expected true or false"),
        ("[runtime]\ncontroller = true\nlisten = [\n  \"nats://x:1\"]", "DIR/daffi.toml:4:3: \"nats://x:1\""),
        ("[[module]]\nname = \"a\"", "missing key `path`"),
        ("[[module]]\npath = \"a\"\nmay-call = [\"a b\"]", "DIR/daffi.toml:3:12: `a b` is no callback name"),
        ("[[module]]\npath = \"a\"\ndeny = [\"run\"]", "DIR/daffi.toml:3:9: unknown value `run`"),
        ("[runtime]\nstate-dir = \"\"", "DIR/daffi.toml:2:13: an empty path"),
        ("[[module]]\npath = \"\"", "DIR/daffi.toml:2:8: an empty path"),
        ("[runtime", "DIR/daffi.toml:1:9: "),
        ("[runtime]\nmax-payload = '1B'", "DIR/daffi.toml:2:15: 1B is out of bounds: it is from 1KiB"),
        ("[[module]]\npath = 'a'\nqueue = 1_000_001", "DIR/daffi.toml:3:9: 1000001 is out of bounds"),
        ("[[module]]\npath = 'a'\nconcurrency = 0", "DIR/daffi.toml:3:15: 0 is out of bounds: it is from 1 to"),
        ("[[module]]\npath = 'a'\ncallbacks = ['a b']", "DIR/daffi.toml:3:13: `a b` is no callback name"),
    ] {
        let error = with_file(text, "").unwrap_err();
        assert!(error.starts_with(message) || error.contains(message), "{text:?}: {error}");
        assert!(error.starts_with("DIR/daffi.toml:"), "{error}");
    }
}

#[test]
fn a_config_that_is_not_there_is_one_line() {
    let error = with("--config /nowhere/daffi.toml").unwrap_err();
    assert!(error.starts_with("/nowhere/daffi.toml: cannot be read"), "{error}");
}

#[test]
fn tenants_share_what_their_tables_say() {
    let modules = "[[module]]\npath = 'a.wasm'\ntenant = 'acme'\n[[module]]\npath = 'b.wasm'\ntenant = 'globex'\n";
    let with_table = |table: &str| with_file(&format!("{modules}{table}"), "");
    let tables = "[tenant.acme]\nexports = [{ callbacks = ['f', 'g'], to = ['globex', 'initech'] }]\n\
                  [tenant.globex]\nimports = ['acme::f', 'initech::*']\n";
    let config = with_table(tables).unwrap();
    assert_eq!((config.modules[0].exports.len(), config.modules[1].exports.len()), (4, 0));
    let imports: Vec<String> = config
        .imports
        .iter()
        .map(|import| format!("{} from {}: {}", import.into, import.from, import.callbacks))
        .collect();
    assert_eq!(imports, ["globex from acme: f", "globex from initech: *"]);
    for (table, part) in [
        ("[tenant.initech]\n", "no module here is of this tenant"),
        ("[tenant.acme]\nimports = ['acme::f']\n", "shares nothing with itself"),
        ("[tenant.acme]\nexports = [{ callbacks = ['f'], to = ['acme'] }]\n", "shares nothing with itself"),
        ("[tenant.acme]\nimports = ['f']\n", "DIR/daffi.toml:8:11: "),
        ("[tenant.acme]\nexports = [{ callbacks = ['f'] }]\n", "missing key `to`"),
        ("[tenant.acme]\nimport = []\n", "unknown key `import`"),
    ] {
        let error = with_table(table).unwrap_err();
        assert!(error.contains(part), "{table}: {error}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("'acme::f{number}'")).collect();
    let error = with_table(&format!("[tenant.globex]\nimports = [{}]\n", many.join(", "))).unwrap_err();
    assert!(error.contains("33 imports, at most 32"), "{error}");
}
