// What happens to a video and its page.

// listen has a player told, until signal is aborted:
//   broken(error)   the browser cannot decode what it has
//   halted()        it was paused: by hand, here or on a keyboard or headphones
//   resumed()
//   first()         the first picture stands
//   seen()          the page was hidden, or is no longer
//   online()        there is a network again
export function listen(video, signal, told) {
  const on = (target, type, f) => target.addEventListener(type, f, { signal });
  on(video, 'error', () => {
    if (video.error?.code === MediaError.MEDIA_ERR_DECODE) told.broken({ msg: video.error.message });
  });
  on(video, 'pause', () => { if (video.paused && !video.ended && !document.hidden) told.halted(); });
  on(video, 'play', () => { if (!video.paused) told.resumed(); });
  on(video, 'loadeddata', () => told.first());
  on(document, 'visibilitychange', () => told.seen());
  on(window, 'online', () => told.online());
}
