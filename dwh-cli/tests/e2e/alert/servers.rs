//! Servers that take alerts: HTTP and SMTP, as much of them as a message needs, over real sockets.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What a server does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This code.
    Code(u16),
    /// Nothing, until it is told to answer.
    Silence,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    got: Vec<String>,
    clear: Vec<String>,
}

/// When a server speaks TLS.
#[derive(Debug, Clone)]
enum Tls {
    Never,
    FromTheFirstByte(Arc<ServerConfig>),
    AfterStartTls(Arc<ServerConfig>),
}

/// A server on a port of its own; it lives as long as the test.
#[derive(Debug, Clone)]
pub struct Server {
    state: Arc<(Mutex<State>, Condvar)>,
    tls: Tls,
    pub port: u16,
}

impl Server {
    /// Takes `{"text": …}` by POST.
    pub fn http() -> Self {
        Self::start(http, Tls::Never)
    }

    /// The same inside TLS.
    pub fn https(config: &Arc<ServerConfig>) -> Self {
        Self::start(http, Tls::FromTheFirstByte(config.clone()))
    }

    /// Takes mails.
    pub fn smtp() -> Self {
        Self::start(smtp, Tls::Never)
    }

    /// Takes mails inside TLS.
    pub fn smtps(config: &Arc<ServerConfig>) -> Self {
        Self::start(smtp, Tls::FromTheFirstByte(config.clone()))
    }

    /// Takes mails, inside TLS if the client asks for it.
    pub fn starttls(config: &Arc<ServerConfig>) -> Self {
        Self::start(smtp, Tls::AfterStartTls(config.clone()))
    }

    fn start(speak: fn(&Server, TcpStream) -> std::io::Result<()>, tls: Tls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = State { answer: Answer::Code(200), got: Vec::new(), clear: Vec::new() };
        let server = Self { state: Arc::new((Mutex::new(state), Condvar::new())), tls, port };
        let own = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                // Whoever hangs up meanwhile is no matter of the server.
                thread::spawn(move || drop(speak(&own, stream)));
            }
        });
        server
    }

    /// From now on.
    pub fn answers(&self, answer: Answer) {
        self.state.0.lock().expect("state").answer = answer;
        self.state.1.notify_all();
    }

    /// Waits until so many messages have come, answered or not.
    pub fn wait_for(&self, messages: usize) {
        let state = self.state.0.lock().expect("state");
        drop(self.state.1.wait_while(state, |state| state.got.len() < messages).expect("state"));
    }

    /// What came since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.0.lock().expect("state").got)
    }

    /// The first words of the lines of SMTP that came in the clear since the last call.
    pub fn clear(&self) -> Vec<String> {
        std::mem::take(&mut self.state.0.lock().expect("state").clear)
    }

    /// The texts of what came since the last call.
    pub fn texts(&self) -> Vec<String> {
        let text = |body: &String| {
            let body: Value = serde_json::from_str(body).expect("JSON");
            body["text"].as_str().expect("a text").to_owned()
        };
        self.take().iter().map(text).collect()
    }

    fn got(&self, message: String) -> u16 {
        let mut state = self.state.0.lock().expect("state");
        state.got.push(message);
        self.state.1.notify_all();
        let state = self.state.1.wait_while(state, |state| state.answer == Answer::Silence).expect("state");
        match state.answer {
            Answer::Code(code) => code,
            Answer::Silence => unreachable!("it was waited for"),
        }
    }
}

fn inside(config: &Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config.clone()).expect("a server"), stream)
}

fn http(server: &Server, stream: TcpStream) -> std::io::Result<()> {
    match &server.tls {
        Tls::FromTheFirstByte(config) => take_post(server, inside(config, stream)),
        _ => take_post(server, stream),
    }
}

fn take_post(server: &Server, stream: impl Read + Write) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let code = server.got(String::from_utf8(body).expect("text"));
    // What a server says of itself is nobody's business.
    let answer = "canary of the server";
    write!(
        reader.get_mut(),
        "HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

fn smtp(server: &Server, stream: TcpStream) -> std::io::Result<()> {
    if let Tls::FromTheFirstByte(config) = &server.tls {
        let mut reader = BufReader::new(inside(config, stream));
        write!(reader.get_mut(), "220 test ESMTP\r\n")?;
        return take_mails(server, &mut reader, false).map(drop);
    }
    let mut reader = BufReader::new(stream);
    write!(reader.get_mut(), "220 test ESMTP\r\n")?;
    match (take_mails(server, &mut reader, true)?, &server.tls) {
        (true, Tls::AfterStartTls(config)) => {
            take_mails(server, &mut BufReader::new(inside(config, reader.into_inner())), false).map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether the client asked for TLS; the connection ended otherwise.
fn take_mails<S: Read + Write>(server: &Server, reader: &mut BufReader<S>, clear: bool) -> std::io::Result<bool> {
    let mut mail = String::new();
    let offers = if clear && matches!(server.tls, Tls::AfterStartTls(_)) { "250-STARTTLS\r\n" } else { "" };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let word = line.split([' ', ':']).next().unwrap_or_default().trim().to_ascii_uppercase();
        if clear {
            server.state.0.lock().expect("state").clear.push(word.clone());
        }
        match word.as_str() {
            "EHLO" => write!(reader.get_mut(), "250-test\r\n250-8BITMIME\r\n{offers}250 AUTH PLAIN LOGIN\r\n")?,
            "STARTTLS" if !offers.is_empty() => {
                write!(reader.get_mut(), "220 go on\r\n")?;
                return Ok(true);
            }
            "AUTH" => {
                mail.push_str(&line);
                write!(reader.get_mut(), "235 welcome\r\n")?;
            }
            "DATA" => {
                write!(reader.get_mut(), "354 go on\r\n")?;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line)?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.push_str(&line);
                }
                let code = server.got(std::mem::take(&mut mail));
                write!(reader.get_mut(), "{} canary\r\n", if code == 200 { 250 } else { code })?;
            }
            "QUIT" => return write!(reader.get_mut(), "221 bye\r\n").map(|()| false),
            _ => {
                mail.push_str(&line);
                write!(reader.get_mut(), "250 fine\r\n")?;
            }
        }
    }
}
