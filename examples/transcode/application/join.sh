#!/bin/sh
# All films: join.sh FILM…
# Segments segments/<film>-NN.webm become <film>.webm without encoding them again. Sound, where a
# film has any, is encoded here in one piece, because cutting it would be heard.
set -eu
ffmpeg="$(dirname "$0")/ffmpeg"
for film in "$@"; do
    name=$(basename "$film" .mp4)
    for segment in segments/"$name"-*.webm; do echo "file '$segment'"; done > "$name.txt"
    "$ffmpeg" -nostdin -hide_banner -loglevel error -y \
        -f concat -safe 0 -i "$name.txt" -i "$film" -map 0:v -map '1:a?' \
        -c:v copy -c:a libopus -ac 2 "$name.webm"
    echo "$name.webm: $(wc -c < "$name.webm") bytes"
done
