//! Writes the seeds that are made of captured events: `seeds TARGET FOLDER`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, folder] = &args[..] else { panic!("usage: seeds TARGET FOLDER") };
    for (name, bytes) in whodid_fuzz::seeds::of(target) {
        std::fs::write(Path::new(folder).join(name), bytes)?;
    }
    Ok(())
}
