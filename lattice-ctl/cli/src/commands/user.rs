//! `trellis user …`: who may use the controllers' API, and tokens for single HTTP requests.

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::connect::Login;
use crate::lattice_dir::LatticeDir;
use crate::{compose, context::Context, home, output, signing};
use clap::{Subcommand, ValueEnum};
use keys::{PublicKey, RequestParts, sign_request};
use lattice_protocol::name::is_token;
use lattice_protocol::permission::PersonRole;
use lattice_protocol::{ErrorCode, Report};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest body that is signed, bytes.
const MAX_BODY: u64 = 4 << 20;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user (or take one that the lattice's directory has), and let it use the API in a role.
    Add {
        /// Its name.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value_t = Role::Viewer)]
        role: Role,
    },
    /// List who may use the API.
    List,
    /// Let a user in no more, from now on: neither at the API nor, where the lattice's directory is, at the
    /// server, which ends the connections that it has.
    #[command(visible_alias = "delete")]
    Remove {
        /// Its name, or its key.
        user: String,
    },
    /// Sign one HTTP request as this user: prints the bearer token, good for half a minute and, if it
    /// changes something, once.
    Token {
        /// GET, PUT, POST or DELETE.
        method: String,
        /// Path and query, as they are sent: /v1/apps.
        target: String,
        /// The body that is sent: a file, or - for standard input.
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// How long it is good, seconds.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=60))]
        seconds: i64,
    },
}

/// What a user may do; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Look.
    Viewer,
    /// Change applications, and store components.
    Deployer,
    /// Everything.
    Admin,
}

impl From<Role> for PersonRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Deployer => Self::Deployer,
            Role::Admin => Self::Admin,
        }
    }
}

/// Runs it.
pub async fn run(args: &Args, command: &UserCommand) -> Outcome {
    if let UserCommand::Token { method, target, body, seconds } = command {
        return token(args, (method, target), body.as_deref(), *seconds);
    }
    let client = Client::connect(args).await?;
    let result = match command {
        UserCommand::Add { name, role } => add(args, &client, name, (*role).into()).await,
        UserCommand::List => list(args, &client).await,
        UserCommand::Remove { user } => remove(args, &client, user).await,
        UserCommand::Token { .. } => Ok(()),
    };
    client.close().await;
    result
}

fn dir(client: &Client) -> Result<&LatticeDir, Report> {
    client.context.dir.as_ref().ok_or_else(|| {
        Report::new(ErrorCode::Config, "users are made in the lattice's directory, and none is here")
            .hint("run it where trellis-lattice is, or: trellis config set --dir <it>")
    })
}

async fn add(args: &Args, client: &Client, name: &str, role: PersonRole) -> Outcome {
    let dir = dir(client)?;
    let creds = dir.add_person(role, name)?;
    let key = Login::of_dir(dir, name)?.user_key()?.public();
    let input = json!({ "key": key, "name": name, "role": role });
    let user = client.need("user.put", &input).await?;
    output::say(args, format!("user {name} is a {role}; its credentials: {}", creds.display()));
    output::say(args, format!("  use them: trellis --nats-creds {} app list", creds.display()));
    if args.output == output::Format::Json {
        output::json(&json!({ "user": user, "creds": creds }));
    }
    Ok(())
}

async fn list(args: &Args, client: &Client) -> Outcome {
    let users = client.need("user.list", &json!({})).await?;
    let text = |user: &Value, name: &str| user[name].as_str().unwrap_or_default().to_owned();
    let rows = users.as_array().into_iter().flatten().map(|user| {
        let added = user["atUnixMs"].as_i64().unwrap_or(0) / 1_000;
        vec![
            text(user, "name"),
            text(user, "role"),
            text(user, "key"),
            text(user, "by"),
            keys::format_utc(added),
        ]
    });
    output::table(args, &users, &["user", "role", "key", "added by", "added"], rows.collect());
    Ok(())
}

async fn remove(args: &Args, client: &Client, user: &str) -> Outcome {
    let users = client.need("user.list", &json!({})).await?;
    let is_meant = |known: &&Value| known["name"] == user || known["key"] == user;
    let known = users.as_array().into_iter().flatten().find(is_meant);
    let field = |name: &str| known.and_then(|known| known[name].as_str());
    let (key, name) = (field("key").unwrap_or(user), field("name").unwrap_or(user));
    // First the server, and then the list: what fails in between can be done again.
    let revoked = revoke(args, client, key, name).await?;
    let gone = match client.need("user.delete", &json!({ "key": key })).await {
        Err(report) if report.code == ErrorCode::NotFound && revoked => json!({ "key": key }),
        gone => gone?,
    };
    output::say(args, format!("user {user} is let in no more"));
    if args.output == output::Format::Json {
        output::json(&json!({ "user": gone, "revoked": revoked }));
    }
    Ok(())
}

/// Ends a NATS user; `false` where there is no directory to do that with.
async fn revoke(args: &Args, client: &Client, key: &str, name: &str) -> Result<bool, Report> {
    let Some(dir) = client.context.dir.as_ref().filter(|dir| dir.exists()) else {
        output::warn(
            "the lattice's directory is not here: the user is taken out of the API's list, and its NATS \
             user still connects; run it where trellis-lattice is",
        );
        return Ok(false);
    };
    if matches!(name, "admin" | "controller") || dir.file()?.hosts.iter().any(|host| host.as_str() == name) {
        return Err(Report::new(ErrorCode::Name, "not the user of a person").got(name));
    }
    // One that is named by its name and not in the list may still have credentials here.
    let of_creds = || Login::of_dir(dir, name)?.user_key().map(|pair| pair.public());
    let key = match key.parse::<PublicKey>() {
        Ok(key) => key,
        Err(_) => of_creds()?,
    };
    if key == client.context.login.user_key()?.public() {
        return Err(Report::new(ErrorCode::Denied, "nobody takes away its own access")
            .got(name)
            .hint("do it as another administrator: --nats-creds <file>"));
    }
    let update = dir.revoke(key, is_token(name).then_some(name))?;
    if let Err(report) = dir.tell(&update, &client.context.login.url).await {
        let config = dir.server_auth();
        return Err(report
            .during("revoke the NATS user")
            .hint(format!("restart the server with {} and run this again", config.display())));
    }
    output::say(args, format!("  servers know; keep {} for their next start", dir.server_auth().display()));
    Ok(true)
}

fn token(args: &Args, (method, target): (&str, &str), body: Option<&Path>, seconds: i64) -> Outcome {
    let method = method.to_ascii_uppercase();
    if !target.starts_with('/') {
        return Err(Report::new(ErrorCode::Usage, "not a path").at("target").got(target).limit("/v1/…"));
    }
    let context = Context::resolve(args)?;
    let body = match body {
        None => Vec::new(),
        Some(path) if path.as_os_str() == "-" => {
            let mut body = Vec::new();
            let read = std::io::stdin().take(MAX_BODY).read_to_end(&mut body);
            read.map_err(|error| output::io_report("read standard input", &error))?;
            body
        }
        Some(path) => signing::read_file(path, MAX_BODY, "read the body")?,
    };
    let parts = RequestParts { lattice: context.lattice.as_str(), method: &method, target, body: &body };
    let now = home::now_unix();
    let nonce = format!("{}{}", compose::boot_id()?, compose::boot_id()?);
    let token = sign_request(&context.login.user_key()?, &parts, (now, now + seconds), &nonce)
        .map_err(|error| Report::new(ErrorCode::Usage, error.to_string()))?;
    match args.output {
        output::Format::Table => output::raw(&token),
        output::Format::Json => output::json(&json!({ "token": token, "expires": now + seconds })),
    }
    Ok(())
}
