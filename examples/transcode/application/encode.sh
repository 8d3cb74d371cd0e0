#!/bin/sh
# One segment: encode.sh FILM START_S FRAMES OUTPUT
# Seeking by time before -i is exact to the frame when the frames are encoded anew.
set -eu
exec "$(dirname "$0")/ffmpeg" -nostdin -hide_banner -loglevel warning -y \
    -ss "$2" -i "$1" -map 0:v:0 -frames:v "$3" \
    -c:v libvpx-vp9 -deadline good -cpu-used 5 -crf 40 -b:v 0 -threads 1 "$4"
