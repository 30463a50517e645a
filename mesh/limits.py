"""Every bound of the system, with its unit in its name, and the relations between them."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# What people may send.
content_bytes_max: Final = MIB
data_bytes_max: Final = MIB
data_depth_max: Final = 64
summary_chars_max: Final = 200
description_chars_max: Final = 2000
name_chars_max: Final = 32
ttl_s_default: Final = 7 * 86400.0
ttl_s_broadcast: Final = 86400.0
ttl_s_min: Final = 1.0
ttl_s_max: Final = 30 * 86400.0
wait_s_max: Final = 86400.0
check_messages_max: Final = 1000

# What is shown to a model at once.
shown_content_bytes_max: Final = 8 * KIB
shown_total_bytes_max: Final = 32 * KIB

# Wire.
body_bytes_max: Final = content_bytes_max + data_bytes_max + 4 * KIB
letter_bytes_max: Final = 4 * KIB
frame_bytes_max: Final = body_bytes_max + 256 * KIB
bulk_bytes_min: Final = 16 * KIB
frame_parts: Final = 2
batch_letters_max: Final = 256
batch_bytes_max: Final = 256 * KIB
cbor_depth_max: Final = 8
cards_per_node_max: Final = 80
endpoints_per_node_max: Final = 16
endpoint_chars_max: Final = 200
hints_per_packet_max: Final = 64
ack_items_max: Final = 1024
chain_hops_max: Final = 16
aliases_per_card_max: Final = 8
packets_per_envelope_max: Final = 256
packet_parts_max: Final = 1024
packet_head_bytes_max: Final = 64 * KIB
profile_chars_max: Final = 64

# Delivery.
window_letters_max: Final = 1024
delivered_rows_max: Final = 16_384
window_bytes_max: Final = 4 * MIB
ack_timeout_s: Final = 5.0
ack_timeout_s_max: Final = 30.0
later_delay_s: Final = 5.0
gap_pause_s: Final = 0.2
sequence_reserve: Final = 4096
outbox_letters_max: Final = 100_000
outbox_bytes_max: Final = 1024 * MIB
inbox_letters_per_author_max: Final = 50_000
inbox_bytes_per_author_max: Final = 256 * MIB
inbox_letters_max: Final = 100_000
inbox_bytes_max: Final = 1024 * MIB
streams_in_max: Final = 4096
streams_in_per_author_max: Final = 32
pins_max: Final = 16_384
pins_per_key_max: Final = 32
refused_ranges_max: Final = 256
untold_per_author_max: Final = 16_384
expiry_interval_s: Final = 0.5
broadcast_horizon_s: Final = 86400.0
history_s_default: Final = 30 * 86400.0

# Links and presence.
links_max: Final = 512
links_per_address_max: Final = 128
handshake_timeout_s: Final = 4.0
announce_timeout_s: Final = 10.0
local_dial_delay_s: Final = 12.0
local_handshake_timeout_s: Final = 10.0
ping_interval_s: Final = 15.0
suspect_after_s: Final = 25.0
away_after_s: Final = 45.0
suspect_redial_s: Final = 10.0
dial_delay_s: Final = 0.3
dial_backoff_s_min: Final = 0.25
dial_backoff_s_max: Final = 600.0
peers_max: Final = 2048
hinted_candidates_max: Final = 1024
dials_max: Final = 32
local_dials_max: Final = 8
redials_per_s_max: Final = 2.5
remembered_s_max: Final = 30 * 86400.0
remembered_max: Final = 256
remembered_spacing_s: Final = 0.1
remembered_delay_s_max: Final = 2.0
remember_interval_s: Final = 86400.0
probe_timeout_s: Final = 3.0
asleep_s_min: Final = 5.0
hints_pause_s: Final = 1.0
problems_max: Final = 256
agents_max: Final = 4096
agents_away_per_node_max: Final = 256
former_names_max: Final = 8
peer_forget_s: Final = 7 * 86400.0
peer_exchange_interval_s: Final = 60.0
sweep_interval_s: Final = 5.0
race_interval_s: Final = 0.25
lost_backoff_fraction: Final = 0.1
lost_backoff_s_min: Final = 2.0
tended_mailboxes_max: Final = 64
rescan_interval_s: Final = 2.0
tend_interval_s: Final = 30.0

# Sockets and discovery.
link_frames_out_max: Final = 8192
link_frames_in_max: Final = 128
tick_bytes_max: Final = 8 * MIB
zap_turn_max: Final = 64
refusal_addresses_max: Final = 256
connect_timeout_s: Final = 3.0
sighting_candidates_max: Final = 256
multicast_interfaces_max: Final = 16
interface_scan_interval_s: Final = 5.0
interface_backstop_s: Final = 60.0
resolve_interval_s: Final = 30.0
run_file_bytes_max: Final = 64 * KIB

# Names.
rename_interval_s: Final = 3600.0
alias_s: Final = 7200.0
previous_secret_s: Final = 7 * 86400.0
previous_secrets_max: Final = 16
alias_tombstone_s: Final = 30 * 86400.0
fingerprint_prefix_chars_min: Final = 6

# Settings.
secret_chars_min: Final = 8
secret_chars_strong: Final = 20
secret_bytes_max: Final = 4 * KIB
static_peers_max: Final = 256
share_roots_max: Final = 64

# The driver.
tick_events_max: Final = 512
tick_letters_max: Final = 1024
"""How many letters of one link go into a tick; fewer, as soon as others write as well."""
share_letters_max: Final = 32
share_pause_s: Final = 0.025
contention_s: Final = 1.0
quiet_letters_max: Final = 128
"""How many letters in `contention_s` a link may bring and still be one that others give way to."""
inbound_frames_alone_max: Final = 64
"""How many envelopes wait to be opened; more, as soon as several links write."""
inbound_frames_max: Final = 4096
inbound_bytes_max: Final = 32 * MIB
line_bytes_max: Final = 16 * MIB

# Control: commands that act through the session of another process of this host.
control_line_bytes_max: Final = 16 * MIB
control_links_max: Final = 64
control_request_timeout_s: Final = 10.0
control_answer_timeout_s: Final = 30.0
control_receipts_max: Final = 1024
control_path_bytes_max: Final = 100

put_off_s: Final = 0.02
disk_trust_s: Final = 30.0
disk_free_bytes_min: Final = 8 * MIB

# Files and commands.
file_bytes_max: Final = MIB
file_inline_text_bytes_max: Final = 16 * KIB
command_timeout_s: Final = 30.0
command_output_bytes_max: Final = 256 * KIB
command_chars_max: Final = 8 * KIB
quarantine_name_bytes_max: Final = 120
quarantine_versions_max: Final = 100

# Files that are streamed.
streamed_file_bytes_max: Final = 1024 * MIB
file_name_bytes_max: Final = 255
chunk_bytes_max: Final = 256 * KIB
fetch_window_bytes: Final = MIB
fetch_backlog_bytes_max: Final = 4 * MIB
fetches_active_max: Final = 4
fetches_max: Final = 256
fetches_per_author_max: Final = 32
fetch_stall_s: Final = 10.0
fetch_stalls_max: Final = 3
offers_open_max: Final = 8
place_bytes_max: Final = 4 * KIB + 64
near_bytes_max: Final = 8 * MIB
read_ahead_max: Final = 4
offer_interval_s: Final = 15.0
offer_pause_s: Final = 60.0
transfers_interval_s: Final = 2.5
chunks_sending_max: Final = 64
file_batch_bytes_max: Final = MIB
partials_per_author_max: Final = 64
partial_sync_bytes: Final = 8 * MIB
partial_s_max: Final = 7 * 86400.0
spooling_max: Final = 2
spool_grace_s: Final = 3600.0
files_bytes_per_author_max: Final = 4 * 1024 * MIB
files_remembered_max: Final = 4096
files_free_bytes_min: Final = 256 * MIB
files_free_bytes_stop: Final = 64 * MIB
files_free_bytes_scarce: Final = 16 * MIB
hash_bytes: Final = 256 * KIB

assert content_bytes_max + data_bytes_max < body_bytes_max < frame_bytes_max
assert file_bytes_max + 4 * KIB < body_bytes_max
assert chunk_bytes_max <= fetch_window_bytes <= fetch_backlog_bytes_max // 4
assert fetch_backlog_bytes_max <= partial_sync_bytes
assert chunk_bytes_max <= batch_bytes_max
assert offers_open_max <= fetches_per_author_max <= partials_per_author_max
assert partial_sync_bytes < files_free_bytes_scarce < files_free_bytes_stop < files_free_bytes_min
assert streamed_file_bytes_max <= files_bytes_per_author_max
assert ttl_s_max <= history_s_default
assert ping_interval_s < suspect_after_s < away_after_s < 60
assert share_letters_max <= batch_letters_max <= tick_letters_max
assert frame_bytes_max < line_bytes_max < inbound_bytes_max
assert batch_letters_max <= window_letters_max < sequence_reserve // 2
assert tended_mailboxes_max + 1 <= cards_per_node_max
assert hinted_candidates_max < peers_max
assert local_dials_max < dials_max < links_max
assert remembered_max <= hinted_candidates_max
assert peer_forget_s <= remembered_s_max
assert handshake_timeout_s < local_handshake_timeout_s < local_dial_delay_s
assert probe_timeout_s < away_after_s - suspect_after_s
assert cards_per_node_max < agents_away_per_node_max < agents_max
assert secret_chars_min < secret_chars_strong < secret_bytes_max
# JSON in ASCII takes at most six bytes for one byte of UTF-8.
assert 6 * (content_bytes_max + data_bytes_max) + MIB < control_line_bytes_max
assert shown_content_bytes_max < shown_total_bytes_max
