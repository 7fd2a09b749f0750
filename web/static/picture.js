// What a <video> shows.

// freeze draws the picture that stands now over the video, instead of a black hole.
export function freeze(video, still) {
  if (!video.videoWidth) return;
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext('2d').drawImage(video, 0, 0);
  still.hidden = false;
}

// frames counts the pictures since the video began.
export function frames(video) {
  const q = video.getVideoPlaybackQuality?.();
  return { decoded: q?.totalVideoFrames ?? 0, dropped: q?.droppedVideoFrames ?? 0 };
}
