#!/bin/sh
# Makes clip.flv: 8 s of moving picture and quiet sound, 206 kbit/s, that can be
# played in a loop without a seam. Needs ffmpeg (libx264, freetype) and the
# DejaVu fonts (Debian: apt install ffmpeg fonts-dejavu-core). Takes about a
# minute.
#
#   ./make-clip.sh [output]
#
# Both tracks end at exactly 8000 ms: 200 pictures at 25 a second, 375 AAC
# frames of 1024 samples at 48 kHz. Everything that moves or sounds has a
# period that divides 8 s, so the last moment leads into the first.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/clip.flv}
sans=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf}
mono=${FONT_MONO:-/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf}
for f in "$sans" "$mono"; do
	[ -r "$f" ] || { echo "no font at $f: install fonts-dejavu-core, or set FONT and FONT_MONO" >&2; exit 1; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# --- picture -----------------------------------------------------------------
# Layers, from back to front; each is a grey mask (0 = clear, 255 = solid) that
# becomes the alpha of a plain colour.
#   sky    a still vertical gradient
#   waves  three, running at 1, 2 and 3 periods per loop
#   dial   a still ring with 8 marks, one for each second
#   sweep  the hand, one turn per loop, and the light that it trails
#   flash  a lamp that lights up with each note, to check lip sync by eye
W=640 H=360 FPS=25
CX=180 CY=158 R=112
fig="s=${W}x${H}:r=$FPS:d=8"
turn="mod(N/200\,1)"

# a running wave: level in pixels, height, wave length, periods per loop
wave() { echo "255*clip(Y-($1)-($2)*sin(2*PI*(X/$3-$4*$turn))\,0\,1)"; }
# the distance of a pixel from the dial's centre, and its clockwise angle from
# twelve o'clock as a part of a turn
rad="hypot(X-$CX\,Y-$CY)"
ang="mod(atan2(X-$CX\,$CY-Y)/(2*PI)+1\,1)"

ring="clip(3-abs($rad-$R)\,0\,1)"
off="(abs(mod($ang*8+0.5\,1)-0.5)*2*PI/8*$rad)" # pixels beside the nearest mark
marks="clip(3-$off\,0\,1)*clip(6.5-abs($rad-$R+14)\,0\,1)"
dial="255*max($ring\,$marks)"

behind="mod($turn-$ang+1\,1)"
trail="0.55*exp(-5*$behind)*clip($R-8-$rad\,0\,1)"
along="((X-$CX)*sin(2*PI*$turn)-(Y-$CY)*cos(2*PI*$turn))"
aside="abs((X-$CX)*cos(2*PI*$turn)+(Y-$CY)*sin(2*PI*$turn))"
hand="clip(3.2-$aside\,0\,1)*clip($along+18\,0\,1)*clip($R-24-$along\,0\,1)"
hub="clip(9-$rad\,0\,1)"
sweep="255*max($trail\,max($hand\,$hub))"

lamp="255*clip(9-hypot(X-592\,Y-36)\,0\,1)*max(0.16\,exp(-6*mod(N/25\,1)))"

ffmpeg -hide_banner -loglevel error -y -filter_complex "
color=black:s=${W}x${H}:r=$FPS:d=0.04,format=gbrp,
  geq=r='8+14*Y/H':g='20+40*Y/H':b='44+52*Y/H',loop=loop=199:size=1,setpts=N/$FPS/TB[sky];
color=black:$fig,format=gray,geq=lum='$(wave 286 9 320 1)'[m1]; color=0x14607a:$fig[c1]; [c1][m1]alphamerge[w1];
color=black:$fig,format=gray,geq=lum='$(wave 308 8 213.333 -2)'[m2]; color=0x1a86a0:$fig[c2]; [c2][m2]alphamerge[w2];
color=black:$fig,format=gray,geq=lum='$(wave 330 6 160 3)'[m3]; color=0x35b3c4:$fig[c3]; [c3][m3]alphamerge[w3];
color=black:s=${W}x${H}:r=$FPS:d=0.04,format=gray,geq=lum='$dial',loop=loop=199:size=1,setpts=N/$FPS/TB[m4];
  color=0xdfeaf2:$fig[c4]; [c4][m4]alphamerge[dial];
color=black:$fig,format=gray,geq=lum='$sweep'[m5]; color=0xffb454:$fig[c5]; [c5][m5]alphamerge[sweep];
color=black:$fig,format=gray,geq=lum='$lamp'[m6]; color=0xff6a55:$fig[c6]; [c6][m6]alphamerge[lamp];
[sky][w1]overlay=format=gbrp[a];[a][w2]overlay=format=gbrp[b];[b][w3]overlay=format=gbrp[c];
[c][dial]overlay=format=gbrp[d];[d][sweep]overlay=format=gbrp[e];[e][lamp]overlay=format=gbrp,
  drawtext=fontfile=$sans:text='Sluice demo':fontsize=34:fontcolor=0xf4f8fb:x=336:y=58,
  drawtext=fontfile=$mono:fontsize=104:fontcolor=0xffb454:x=330:y=112:
    text='%{eif\:trunc(n/25)\:d}.%{eif\:mod(trunc(n*2/5)\,10)\:d}',
  drawtext=fontfile=$sans:text='seconds':fontsize=20:fontcolor=0x9fb7c9:x=338:y=216,
  scale=out_color_matrix=bt709:out_range=tv,format=yuv420p[v]" \
	-map '[v]' -frames:v 200 -r $FPS \
	-c:v libx264 -profile:v main -preset veryslow -crf 24.1 -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 \
	-x264-params open-gop=0 -threads 1 \
	-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv \
	-bsf:v filter_units=remove_types=6 "$tmp/video.mp4"

# --- sound -------------------------------------------------------------------
# A low chord, whose tones all have whole periods in 8 s, and a soft note each
# second. Three loops are encoded and the middle one is kept: its first frame
# overlaps with the end of the same sound, as it will when the clip is looped.
notes=0 k=0
for hz in 440 523.25 659.25 523.25 587.25 440 493.875 392; do
	notes="$notes+eq(floor(mod(t,8)),$k)*sin(2*PI*$hz*mod(t,1))"
	k=$((k + 1))
done
note="0.10*($notes)*exp(-6*mod(t,1))*min(1,mod(t,1)*200)*min(1,(1-mod(t,1))*50)"
chord="0.022*(1+0.4*sin(2*PI*t/8))*sin(2*PI*110*t)+0.016*(1-0.4*sin(2*PI*t/8))*sin(2*PI*164.75*t)"
ffmpeg -hide_banner -loglevel error -y \
	-f lavfi -i "aevalsrc='$note+$chord|$note+$chord':s=48000:d=24:c=stereo" \
	-c:a aac -b:a 48k "$tmp/sound.mp4"
ffmpeg -hide_banner -loglevel error -y -i "$tmp/sound.mp4" -ss 8 -frames:a 375 -c copy "$tmp/loop.mp4"

# --- together ----------------------------------------------------------------
# No duration, file size or end-of-sequence tag: this is a piece of a live
# stream. Bit-exact, so that no version of the tool is written into it.
ffmpeg -hide_banner -loglevel error -y -i "$tmp/video.mp4" -i "$tmp/loop.mp4" -map 0:v -map 1:a -c copy \
	-fflags +bitexact -map_metadata -1 -flvflags no_duration_filesize+no_sequence_end "$out"
ls -l "$out"
