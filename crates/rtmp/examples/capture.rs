//! Records a publisher's bytes while answering as a server does, and cuts a recording into seeds for fuzzing.
//!
//!     cargo run --package rtmp --example capture -- record 127.0.0.1:1935 ffmpeg.rtmp 200000
//!     cargo run --package rtmp --example capture -- cut ffmpeg ffmpeg.rtmp crates/rtmp/fuzz/corpus
#![allow(clippy::unwrap_used, reason = "a tool of ours: a panic says enough")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rtmp::handshake::{Handshake, RANDOM_BYTES};
use rtmp::{Event, Protocol};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["record", listen, file, bytes_max] => {
            let (socket, _) = TcpListener::bind(listen).unwrap().accept().unwrap();
            let recorded = record(socket, bytes_max.parse().unwrap());
            std::fs::write(file, &recorded).unwrap();
            println!("{} bytes", recorded.len());
        }
        ["cut", client, file, corpus] => {
            for seed in support::seeds::cut(client, &std::fs::read(file).unwrap()) {
                let folder = Path::new(corpus).join(seed.target);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(seed.name), seed.bytes).unwrap();
            }
        }
        _ => panic!("record LISTEN FILE BYTES_MAX, or cut CLIENT FILE CORPUS"),
    }
}

/// All bytes until the peer closes, at most about `bytes_max`.
fn record(mut socket: TcpStream, bytes_max: usize) -> Vec<u8> {
    let (mut recorded, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut handshake, mut protocol) = (Some(Handshake::new(Box::new([0; RANDOM_BYTES]))), Protocol::new());
    while recorded.len() < bytes_max {
        let read = socket.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            break;
        }
        recorded.extend_from_slice(&buffer[..read]);
        match &mut handshake {
            Some(greeting) => {
                let progress = greeting.input(&buffer[..read]).unwrap();
                socket.write_all(&progress.answer).unwrap();
                let Some(rest) = progress.rest else { continue };
                handshake = None;
                protocol.input(&rest);
            }
            None => protocol.input(&buffer[..read]),
        }
        while let Some(event) = protocol.next_event().unwrap() {
            match event {
                Event::Connect { .. } => protocol.accept_connect(),
                Event::Publish { .. } => protocol.accept_publish(),
                _ => {}
            }
        }
        socket.write_all(&protocol.take_output()).unwrap();
    }
    recorded
}
