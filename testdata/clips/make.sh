#!/bin/sh
# Makes the clips of this directory anew, with ffmpeg (libx264).
set -eu
cd "$(dirname "$0")"

picture="testsrc2=size=320x180:rate=15:duration=5"
sound="sine=frequency=440:sample_rate=44100:duration=5"
x264="-c:v libx264 -preset veryslow -crf 34 -bf 3 -g 30 -keyint_min 30 -sc_threshold 0 -pix_fmt yuv420p -threads 1"
aac="-c:a aac -b:a 32k -ac 1"
plain="-fflags +bitexact -flags +bitexact -map_metadata -1 -f flv"

ff() { ffmpeg -hide_banner -loglevel error -y "$@"; }
ff -f lavfi -i "$picture" -f lavfi -i "$sound" $x264 $aac $plain h264-bframes-aac.flv
ff -f lavfi -i "$sound" $aac $plain aac.flv
ff -f lavfi -i "$picture" $x264 $plain h264-bframes.flv
