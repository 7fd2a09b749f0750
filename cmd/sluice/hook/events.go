package hook

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"sluice/cmd/sluice/event"
)

// Encoder writes events for a server. The zero Encoder writes them in Sluice's own form.
type Encoder struct {
	Format Format
	Folder string // the archive of recordings, as the receiver of FormatSRS and FormatNginx is to see it
}

// Encode returns the content type and the bodies of the requests that tell an event, one after
// the other: one of them, or in FormatNginx one for each session of an update. There are none
// for what the format has no word for.
//
//	             srs           nginx
//	publish      on_publish    publish
//	unpublish    on_unpublish  publish_done
//	play         on_play       play
//	stop         on_stop       play_done
//	record.finished  on_dvr    record_done
//	update                     update_publish, update_play
//
// After a grant for another name than the one that was asked about, events have that name. The
// answer takes an event, or does not: unlike with those servers it never ends a session.
func (e Encoder) Encode(ev *event.Event) (contentType string, bodies [][]byte) {
	calls := callsOf(ev, e.Folder)
	switch e.Format {
	case FormatSRS:
		for i := range calls {
			if body, ok := appendSRS(nil, &calls[i]); ok {
				bodies = append(bodies, body)
			}
		}
		return typeJSON, bodies
	case FormatNginx:
		for i := range calls {
			if body, ok := appendNginx(nil, &calls[i]); ok {
				bodies = append(bodies, body)
			}
		}
		return typeForm, bodies
	}
	return typeJSON, [][]byte{appendJSON(nil, ev)}
}

// callsOf returns an event as calls: none for what only Sluice's own form can tell.
func callsOf(e *event.Event, folder string) []Call {
	call := Call{Server: e.Server, Service: service, App: e.App, Name: e.Name}
	switch e.Type {
	case event.TypePublish:
		call.Action = ActionPublish
	case event.TypePlay:
		call.Action = ActionPlay
	case event.TypeUnpublish:
		call.Action = ActionUnpublish
	case event.TypeStop:
		call.Action = ActionStop
	case event.TypeRecordFinished:
		if e.Recording == nil {
			return nil
		}
		call.Action, call.Folder, call.Path = ActionRecorded, folder, e.Recording.Path
	case event.TypeUpdate:
		return updatesOf(e)
	default:
		return nil
	}
	call.setSession(e.Session)
	return []Call{call}
}

// updatesOf returns the calls of an update: one for each session that runs.
func updatesOf(e *event.Event) (calls []Call) {
	for i := range e.Sessions {
		s := &e.Sessions[i]
		cut := strings.LastIndexByte(s.Stream, '/')
		if s.State != "running" || cut < 0 {
			continue
		}
		call := Call{
			Action: ActionUpdatePlay, Server: e.Server, Service: service, App: s.Stream[:cut], Name: s.Stream[cut+1:],
			Since: max(0, e.Time.Sub(s.Since)).Truncate(time.Millisecond),
		}
		if s.Role == "publish" {
			call.Action = ActionUpdatePublish
		}
		call.setSession(&s.Session)
		calls = append(calls, call)
	}
	return calls
}

// setSession fills in whose event it is.
func (c *Call) setSession(s *event.Session) {
	if s == nil {
		return
	}
	c.Session, c.Protocol, c.Agent, c.Recording = s.ID, s.Protocol, s.Agent, s.Recording
	c.TCURL, c.PageURL, c.SWFURL = withoutQuery(s.TCURL), withoutQuery(s.PageURL), withoutQuery(s.SWFURL)
	if at, err := netip.ParseAddrPort(s.Address); err == nil {
		c.Address = at.Addr()
	}
}

// withoutQuery returns a URL without user, password, query and fragment; empty if it is none.
func withoutQuery(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return ""
	}
	plain, _, _ := strings.Cut(u.Path, "?") // one that was escaped
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: plain}).String()
}
