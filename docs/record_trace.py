# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import struct, zlib

def piece(file, data):
    file.write(data + struct.pack("<I", zlib.crc32(data)))

def begin(file, experts):
    piece(file, b"MOEBALTR" + struct.pack("<4I", 1, 0, experts, 1))

def batch(file, step, rank, micro_batch, logits, token_ids):  # numpy [T, E] and [T]
    head = struct.pack("<4IQ", 1, step, rank, micro_batch, len(logits))
    piece(file, head + logits.astype("<f4").tobytes() + token_ids.astype("<i8").tobytes())

def end(file, batches):
    piece(file, struct.pack("<IQ", 2, batches))
