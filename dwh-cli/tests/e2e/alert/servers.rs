//! Servers that take alerts: HTTP and SMTP, as much of them as a message needs, over real sockets.

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
}

/// A server on a port of its own; it lives as long as the test.
#[derive(Debug, Clone)]
pub struct Server {
    state: Arc<(Mutex<State>, Condvar)>,
    pub port: u16,
}

impl Server {
    /// Takes `{"text": …}` by POST.
    pub fn http() -> Self {
        Self::start(http)
    }

    /// Takes mails.
    pub fn smtp() -> Self {
        Self::start(smtp)
    }

    fn start(speak: fn(&Server, TcpStream) -> std::io::Result<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = State { answer: Answer::Code(200), got: Vec::new() };
        let server = Self { state: Arc::new((Mutex::new(state), Condvar::new())), port };
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

fn http(server: &Server, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
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
    write!(stream, "HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}", answer.len())
}

fn smtp(server: &Server, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut mail = String::new();
    write!(stream, "220 test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.split([' ', ':']).next().unwrap_or_default().trim().to_ascii_uppercase().as_str() {
            "EHLO" => write!(stream, "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n")?,
            "AUTH" => {
                mail.push_str(&line);
                write!(stream, "235 welcome\r\n")?;
            }
            "DATA" => {
                write!(stream, "354 go on\r\n")?;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line)?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.push_str(&line);
                }
                let code = server.got(std::mem::take(&mut mail));
                write!(stream, "{} canary\r\n", if code == 200 { 250 } else { code })?;
            }
            "QUIT" => return write!(stream, "221 bye\r\n"),
            _ => {
                mail.push_str(&line);
                write!(stream, "250 fine\r\n")?;
            }
        }
    }
}
