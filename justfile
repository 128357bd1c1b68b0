# What must hold before a change is taken. Never writes into the tree.
verify:
    .ci/run

# Formats, and applies what clippy can mend.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# The tests alone.
test:
    cargo test --workspace --locked

# Replays one run of the simulator, with a line for each thing that happens.
sim SEED:
    TALLY_SIM_SEED={{SEED}} cargo test --quiet --package tally-simulation --test simulation no_seed -- --nocapture

# Known weaknesses of what we depend on. Fetches its database, so it is part of a release, not of a run.
advisories:
    cargo deny --locked check advisories

# Writes the vectors and the golden log in proto/ anew from the values in the tests, and the papers in
# docs/ that come from tables.
gen:
    GENERATE=1 cargo test --package tally-wire --test vectors what_they_say
    GENERATE=1 cargo test --package tally-tests --test golden always_was
    GENERATE=1 cargo test --package tally-tests --test papers is_what_the_table_says

# Instruction counts and times of the pure crates; benches/README.md says what they need.
bench:
    cargo bench --package tally-benches --bench instructions
    cargo bench --package tally-benches --bench times

# Appends of three real ledger nodes, beside etcd and the disk: on a machine that does nothing else.
appends:
    cargo build --release --package tally-cli
    cargo bench --package tally-benches --bench appends
    cargo bench --package tally-benches --bench appends -- --kills 30

# Exchanges between two real members, beside a lone append and the disk: on a machine that does nothing else.
exchanges:
    cargo build --release --package tally-cli
    cargo bench --package tally-benches --bench exchanges

# A dataset from one member to the other, beside QUIC alone and beside Debian's nginx-light: on a machine that does nothing else.
streams:
    cargo build --release --package tally-cli
    cargo bench --package tally-benches --bench streams

# Verifies a ledger of ten million entries that it makes: 2.3 GB below the target directory, some minutes.
verifying:
    cargo build --release --package tally-cli
    cargo bench --package tally-benches --bench verify
