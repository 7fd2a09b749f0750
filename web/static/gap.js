// Holes in what is buffered.

// overGap helps a video over a hole in the data, of a publisher that was away, of frames
// that the server left out, or of what a recording lacks. It reports whether it jumped.
export function overGap(video) {
  const { buffered, currentTime: t } = video;
  if (video.readyState > 2) return false;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= t && t < buffered.end(i) - 0.1) return false;
    if (buffered.start(i) > t) {
      video.currentTime = buffered.start(i) + 0.01;
      return true;
    }
  }
  return false;
}

// holds reports whether a place is buffered, s.
export function holds(video, place) {
  const { buffered } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= place && place < buffered.end(i) - 0.1) return true;
  }
  return false;
}

// ahead is what is buffered in one piece beyond the picture now shown, s.
export function ahead(video) {
  const { buffered, currentTime: t } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= t + 0.1 && t < buffered.end(i)) return buffered.end(i) - t;
  }
  return 0;
}
