//! How commands read their configuration, and how they refuse a bad one.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn check_config_shows_flags_over_environment_over_file_over_defaults_and_no_secret(store: StoreKind) {
    let home = Home::new(store);
    let file = home.dir.path().join("sessiond.toml");
    let toml = "cookie_name = 'file'\nsessions_per_user = 7\nsession_idle = '7m'\nadmin_password = 'sup3rs3cret'";
    std::fs::write(&file, toml).expect("written");
    let variables = [
        ("SESSIOND_CONFIG", file.to_str().expect("UTF-8")),
        ("SESSIOND_COOKIE_NAME", "environment"),
        ("SESSIOND_SESSIONS_PER_USER", "8"),
    ];
    let shown = with(&home, &variables, &["check-config", "--cookie-name", "flag"]).await.done().unwrap();
    let lines: Vec<_> = shown.lines().collect();
    for line in ["cookie_name = \"flag\"", "sessions_per_user = 8", "session_idle = \"7m\"", "cookie_secure = true"] {
        assert!(lines.contains(&line), "{line} is not in {shown}");
    }
    assert!(shown.contains("# admin_password is set (hidden)") && !shown.contains("sup3rs3cret"), "{shown}");
    assert!(home.database.is_untouched().await, "it opens nothing");
    std::fs::write(&file, &shown).expect("written");
    let again = with(&home, &variables[..1], &["check-config"]).await.done().unwrap();
    assert_eq!(without_comments(&again), without_comments(&shown), "what was printed is a configuration file");

    std::fs::write(home.dir.path().join("secret"), "fr0mf1le\n").expect("written");
    let from_file = with(&home, &[("SESSIOND_ADMIN_PASSWORD_FILE", "secret")], &["check-config"]).await.done().unwrap();
    assert!(from_file.contains("(hidden)") && !from_file.contains("fr0mf1le"), "{from_file}");
    for shown in [home.run(&["--help"]).await.done().unwrap(), home.run(&["serve", "--help"]).await.done().unwrap()] {
        assert!(!shown.contains("admin-password <"), "{shown}");
    }
}

/// What `check-config` printed, without what it says of a secret, which it does not print, and of the file that held it.
fn without_comments(shown: &str) -> Vec<&str> {
    shown.lines().filter(|line| !line.starts_with('#')).collect()
}

#[on_both_stores]
async fn a_configuration_that_cannot_be_is_refused_with_what_to_write_instead(store: StoreKind) {
    let home = Home::new(store);
    let toml = |text: &str| {
        let file = home.dir.path().join(format!("{}.toml", text.len()));
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("UTF-8").to_owned()
    };
    let (unknown, broken) = (toml("listne = '127.0.0.1:1'"), toml("session_idle = 'a while ago'"));
    let cases: [(&[(&str, &str)], &[&str], &str); 20] = [
        (&[("SESSIOND_PASSWORD_QUEUE", "18446744073709551615")], &[], "100000 at most"),
        (
            &[("SESSIOND_ADMIN_PASSWORD", "short")],
            &[],
            "admin_password must have at least 8 characters: choose another",
        ),
        (&[("SESSIOND_LISTNE", "x")], &[], "did you mean SESSIOND_LISTEN?"),
        (&[("SESSIOND_COOKIE_SECUR", "x")], &[], "did you mean SESSIOND_COOKIE_SECURE?"),
        (
            &[("SESSIOND_LISTEN", "here")],
            &[],
            "SESSIOND_LISTEN: `here` is not an address and a port: write one such as 127",
        ),
        (&[("SESSIOND_PORT", "8080")], &[], "SESSIOND_PORT is not a setting: did you mean"),
        (&[("RUST_LOG", "sessiond=loud")], &[], "write one such as info or info,sessiond::login=off"),
        (&[("SESSIOND_SESSION_IDLE", "soon")], &[], "write one such as 90s, 15m, 2h or 14d"),
        (&[], &["--listen", "8080"], "sessiond: --listen: `8080` is not an address and a port: write one such as 127"),
        (&[], &["--cookie-secure", "1"], "sessiond: --cookie-secure: `1` is none of them: write true or false"),
        (&[], &["--cache", "on", "--cache", "off"], "sessiond: --cache is given more than once: keep one"),
        (&[], &["--trusted-proxies", "10.0.0.0/8", "--trusted-proxies", "x"], "`x` is no address and no network"),
        (&[], &["--config", &unknown], "unknown field `listne`"),
        (&[], &["--config", &broken], "write one such as 90s"),
        (&[], &["--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (&[], &["--cookie-samesite", "none", "--cookie-secure", "false"], "set cookie_secure = true"),
        (&[], &["--listen", "127.0.0.1:9", "--ops-listen", "127.0.0.1:9"], "a port of its own"),
        (&[], &["--session-idle", "25h"], "session_idle is longer than session_absolute"),
        (&[("SESSIOND_DATABASE_URL", "mysql://x")], &["user", "list"], "such as sqlite://sessiond.db"),
        (
            &[("SESSIOND_ADMIN_PASSWORD", "one"), ("SESSIOND_ADMIN_PASSWORD_FILE", "two")],
            &[],
            "admin_password and admin_password_file are both set: keep one",
        ),
    ];
    for (variables, arguments, words) in cases {
        let sentence = with(&home, variables, arguments).await.refused().unwrap();
        assert!(sentence.contains(words), "{variables:?} {arguments:?}: {sentence}");
        assert!(!sentence.contains("panicked"), "{sentence}");
    }
    assert!(home.database.is_untouched().await, "nothing was opened");
}

#[on_both_stores]
async fn service_links_are_no_settings_to_any_command(store: StoreKind) {
    const LINKS: [(&str, &str); 12] = [
        ("SESSIOND_SERVICE_HOST", "10.96.12.7"),
        ("SESSIOND_SERVICE_PORT", "8080"),
        ("SESSIOND_SERVICE_PORT_HTTP", "8080"),
        ("SESSIOND_PORT", "tcp://10.96.12.7:8080"),
        ("SESSIOND_PORT_8080_TCP", "tcp://10.96.12.7:8080"),
        ("SESSIOND_PORT_8080_TCP_PROTO", "tcp"),
        ("SESSIOND_PORT_8080_TCP_PORT", "8080"),
        ("SESSIOND_PORT_8080_TCP_ADDR", "10.96.12.7"),
        ("SESSIOND_OPS_SERVICE_HOST", "10.96.12.8"),
        ("SESSIOND_OPS_PORT", "tcp://10.96.12.8:9090"),
        ("SESSIOND_OPS_PORT_9090_TCP_ADDR", "10.96.12.8"),
        ("SESSIOND_LISTEN_PORT", "tcp://10.96.12.9:80"),
    ];
    let home = Home::new(store);
    let mut command = home.server();
    command.envs(LINKS);
    let server = Process::start(command).await;
    let mut variables = LINKS.to_vec();
    variables.push(("SESSIOND_OPS_LISTEN", &server.ops));
    for arguments in [&["check-config"][..], &["user", "list"], &["replicas"], &["migrate"], &["healthcheck"]] {
        with(&home, &variables, arguments).await.done().unwrap();
    }
    variables.push(("SESSIOND_LISTNE", "tcp://10.96.12.7:8080"));
    let misspelt = with(&home, &variables, &["check-config"]).await.refused().unwrap();
    assert_eq!(misspelt, "sessiond: SESSIOND_LISTNE is not a setting: did you mean SESSIOND_LISTEN?\n");
}

#[on_both_stores]
async fn an_empty_variable_counts_as_unset_for_every_command(store: StoreKind) {
    let home = Home::new(store);
    let plain = home.run(&["check-config"]).await.done().unwrap();
    let empty = [
        "SESSIOND_CONFIG",
        "SESSIOND_LISTEN",
        "SESSIOND_COOKIE_DOMAIN",
        "SESSIOND_COOKIE_SECURE",
        "SESSIOND_TRUSTED_PROXIES",
        "SESSIOND_PUBLIC_URL",
        "SESSIOND_DATABASE_URL_FILE",
        "SESSIOND_ADMIN_PASSWORD",
        "SESSIOND_ADMIN_PASSWORD_FILE",
        "SESSIOND_ADMIN_USERNAME",
        "SESSIOND_LISTNE",
        "RUST_LOG",
    ]
    .map(|name| (name, ""));
    assert_eq!(with(&home, &empty, &["check-config"]).await.done().unwrap(), plain);
    let mut command = home.server();
    command.env("RUST_LOG", "");
    // At a higher level than the usual one it would not say where it serves.
    Process::start(command).await;
}

#[on_both_stores]
async fn every_address_and_bare_proxies_are_written_as_people_write_them(store: StoreKind) {
    let home = Home::new(store);
    let variables = [("SESSIOND_LISTEN", ":8080"), ("SESSIOND_TRUSTED_PROXIES", "192.0.2.7, 10.0.0.0/8")];
    let arguments = ["check-config", "--cors-origins", "https://a.example", "--cors-origins", "https://b.example"];
    let shown = with(&home, &variables, &arguments).await.done().unwrap();
    for line in [
        "listen = \"0.0.0.0:8080\"",
        "trusted_proxies = [\"192.0.2.7/32\", \"10.0.0.0/8\"]",
        "cors_origins = [\"https://a.example\", \"https://b.example\"]",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    let help = home.run(&["--help"]).await.done().unwrap();
    for variable in ["[env: SESSIOND_LISTEN]", "[env: SESSIOND_CONFIG]", "[env: SESSIOND_TRUSTED_PROXIES]"] {
        assert!(help.contains(variable), "{help}");
    }
}

#[on_both_stores]
async fn each_unsafe_setting_is_one_warning_at_the_start_and_a_comment_of_check_config(store: StoreKind) {
    let home = Home::new(store);
    let secret = home.dir.path().join("secret");
    std::fs::write(&secret, PASSWORD).expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("set");
    let unsafe_settings = [
        ("SESSIOND_LISTEN", "0.0.0.0:0"),
        ("SESSIOND_COOKIE_SECURE", "false"),
        ("SESSIOND_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("SESSIOND_REMEMBERED_ABSOLUTE", "10years"),
        ("SESSIOND_CORS_ORIGINS", "http://app.example.com"),
        ("SESSIOND_ADMIN_PASSWORD_FILE", secret.to_str().expect("UTF-8")),
    ];
    let words = [
        "cookie_secure is false",
        "0.0.0.0/0",
        "remembered_absolute is",
        "http://app.example.com",
        "every user of the machine",
    ];
    let shown = with(&home, &unsafe_settings, &["check-config"]).await.done().unwrap();
    let comments: Vec<_> = shown.lines().filter(|line| line.starts_with("# warning: ")).collect();
    assert_eq!(comments.len(), words.len(), "{shown}");
    let mut command = home.server();
    command.env_remove("SESSIOND_ADMIN_PASSWORD").envs(unsafe_settings);
    let server = Process::start(command).await;
    until("every warning is there", async || server.log().matches(" WARN ").count() == words.len()).await;
    for word in words {
        for lines in [shown.clone(), server.log()] {
            assert_eq!(
                lines.lines().filter(|line| line.to_lowercase().contains("warn") && line.contains(word)).count(),
                1,
                "{word}: {lines}"
            );
        }
    }
    let elsewhere = [("SESSIOND_DATABASE_URL", "postgres://me:s3cret@db.example/x?sslmode=require")];
    let shown = with(&home, &elsewhere, &["check-config"]).await.done().unwrap();
    assert!(shown.contains("# warning: database_url names another machine") && !shown.contains("s3cret"), "{shown}");
    let safe_home = Home::new(store);
    let mut command = safe_home.server();
    command.env("SESSIOND_TRUSTED_PROXIES", "none");
    let safe = Process::start(command).await;
    until("it has made the first user", async || safe.log().contains("made the first user")).await;
    assert!(!safe.log().contains(" WARN "), "{}", safe.log());
}

#[on_both_stores]
async fn nothing_secret_is_repeated_of_a_configuration_that_is_refused(store: StoreKind) {
    const SECRET: &str = "hunter2-secret-pw";
    let home = Home::new(store);
    let file = home.dir.path().join("sessiond.toml");
    for (toml, words) in [
        (
            format!("listen = '127.0.0.1:1'\nadmin_pasword = '{SECRET}'"),
            &["line 2", "unknown field `admin_pasword`"][..],
        ),
        (format!("admin_password = '{SECRET}\nlisten = 1"), &["line 1"]),
        (format!("admin_password = \"{SECRET}"), &["line 1"]),
        (format!("admin_password = {SECRET}"), &["line 1"]),
        (format!("admin_password = ['{SECRET}']"), &["line 1", "admin_password", "in quotes"]),
        (String::from("cache = 'on'\n\nadmin_password = 20240117"), &["line 3", "admin_password", "in quotes"]),
        (String::from("database_url = 20240117"), &["line 1", "database_url", "in quotes"]),
        (format!("admin_password = 'one'\nadmin_password = '{SECRET}'"), &["line 2", "duplicate"]),
        (SECRET.to_owned(), &["line 1"]),
        (format!("database_url = 'mysql://u:{SECRET}@h/db'"), &["`mysql://(hidden)` names no store"]),
        (format!("database_url = 'mysql://u:{SECRET}#@h/db'"), &["`mysql://(hidden)`"]),
        (format!("database_url = 'mysql://h/db?user=u&password={SECRET}'"), &["`mysql://(hidden)`"]),
        (format!("database_url = 'postgres://u:{SECRET}@h/db?colour=1'"), &["database_url cannot be used"]),
        (format!("database_url = 'sqlite://x.db?key={SECRET}'"), &["`sqlite://(hidden)`"]),
        (format!("database_url = '{SECRET}'"), &["`(hidden)`"]),
    ] {
        std::fs::write(&file, &toml).expect("written");
        let mut command = home.command(&["check-config", "--config", "sessiond.toml"]);
        command.env_remove("SESSIOND_DATABASE_URL");
        let sentence = finish(command, "").await.refused().unwrap();
        for word in words {
            assert!(sentence.contains(word), "{toml}: {word} is not in {sentence}");
        }
        assert!(!sentence.contains(SECRET) && !sentence.contains("20240117"), "{toml}: {sentence}");
    }
}

#[on_both_stores]
async fn completions_are_printed_whatever_the_configuration(store: StoreKind) {
    let home = Home::new(store);
    for shell in ["bash", "zsh", "fish"] {
        let script = with(&home, &[("SESSIOND_LISTNE", "x")], &["completions", shell]).await.done().unwrap();
        assert!(script.contains("check-config"), "{shell}");
    }
    home.run(&["completions", "abacus"]).await.refused().unwrap();
}
