package rtmp

import (
	"errors"
	"fmt"
	"net"
	"os"

	"sluice/flv/amf"
)

// Status codes of onStatus, _result and _error information objects that this
// package sends or understands (RTMP 1.0 §7.2; the NetConnection and NetStream
// tables of the Flash documentation; Enhanced RTMP v2 for ReconnectRequest).
const (
	CodeConnectSuccess     = "NetConnection.Connect.Success"
	CodeConnectRejected    = "NetConnection.Connect.Rejected"
	CodeConnectFailed      = "NetConnection.Connect.Failed"
	CodeConnectClosed      = "NetConnection.Connect.Closed"
	CodeConnectInvalidApp  = "NetConnection.Connect.InvalidApp"
	CodeConnectAppShutdown = "NetConnection.Connect.AppShutdown"
	CodeReconnectRequest   = "NetConnection.Connect.ReconnectRequest"
	CodeCallFailed         = "NetConnection.Call.Failed"

	CodePublishStart     = "NetStream.Publish.Start"
	CodePublishBadName   = "NetStream.Publish.BadName"
	CodePublishDenied    = "NetStream.Publish.Denied"
	CodePublishRejected  = "NetStream.Publish.Rejected"
	CodePublishIdle      = "NetStream.Publish.Idle"
	CodeUnpublishSuccess = "NetStream.Unpublish.Success"

	CodePlayReset           = "NetStream.Play.Reset"
	CodePlayStart           = "NetStream.Play.Start"
	CodePlayStop            = "NetStream.Play.Stop"
	CodePlayComplete        = "NetStream.Play.Complete"
	CodePlaySwitch          = "NetStream.Play.Switch"
	CodePlayFailed          = "NetStream.Play.Failed"
	CodePlayStreamNotFound  = "NetStream.Play.StreamNotFound"
	CodePlayPublishNotify   = "NetStream.Play.PublishNotify"
	CodePlayUnpublishNotify = "NetStream.Play.UnpublishNotify"
	CodePlayInsufficientBW  = "NetStream.Play.InsufficientBW"
	CodePauseNotify         = "NetStream.Pause.Notify"
	CodeUnpauseNotify       = "NetStream.Unpause.Notify"
	CodeSeekNotify          = "NetStream.Seek.Notify"
	CodeSeekInvalidTime     = "NetStream.Seek.InvalidTime"
	CodeStreamFailed        = "NetStream.Failed"
)

// Levels of a status. ffmpeg takes any status of LevelError for the end of the
// session.
const (
	LevelStatus  = "status"
	LevelWarning = "warning"
	LevelError   = "error"
)

// A StatusError is the information object of an onStatus or _error message: what
// a Handler returns to choose the words of a refusal, and what a Client returns
// when a server refused it.
type StatusError struct {
	Level       string // LevelError if empty
	Code        string // chosen by what is refused if empty
	Description string // in words, for people; sent to the peer
	Err         error  // the cause; for logs and errors.Is, never sent

	// Properties are the further properties of the information object.
	Properties amf.Object
	// Redirect is the URL at which a Client is to have the stream instead (code 302 in the
	// object "ex"), without user and password: a Client sets it. It may hold secrets.
	Redirect string

	asks string // the description as it came, if it asks for credentials
}

// Text returns a further property that is a text, "" if there is none.
func (e *StatusError) Text(name string) string { return props(e.Properties).str(name) }

// Error returns code and description, and the cause if there is one.
func (e *StatusError) Error() string {
	s := "rtmp: " + e.Code
	if e.Code == "" {
		s = "rtmp: refused"
	}
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.Err != nil {
		s += fmt.Sprintf(" (%v)", e.Err)
	}
	return s
}

// Unwrap returns the cause.
func (e *StatusError) Unwrap() error { return e.Err }

// closedError is an error that says that something was closed: errors.Is holds
// for net.ErrClosed.
type closedError string

func (e closedError) Error() string { return string(e) }
func (closedError) Unwrap() error   { return net.ErrClosed }

// timeoutError is an error that says that a time limit of this package passed:
// errors.Is holds for os.ErrDeadlineExceeded.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Unwrap() error   { return os.ErrDeadlineExceeded }

// Reasons for which a server ends a session by itself. Each wraps
// os.ErrDeadlineExceeded or net.ErrClosed where it says so.
var (
	// ErrServerClosed is returned by Server.Serve after Shutdown or Close, and is
	// the reason of the sessions that these ended. It wraps net.ErrClosed.
	ErrServerClosed error = closedError("rtmp: server closed")
	// ErrHandshakeTimeout, ErrConnectTimeout and ErrCommandTimeout end a client that
	// was too slow to shake hands, to connect, or to publish or play something.
	// They wrap os.ErrDeadlineExceeded, as ErrPublishIdle does.
	ErrHandshakeTimeout error = timeoutError("rtmp: no handshake in time")
	ErrConnectTimeout   error = timeoutError("rtmp: no connect command in time")
	ErrCommandTimeout   error = timeoutError("rtmp: nothing published or played in time")
	// ErrAuthorizeTimeout refuses a publish or play whose Authorizer did not answer in
	// time. It wraps os.ErrDeadlineExceeded.
	ErrAuthorizeTimeout error = timeoutError("rtmp: no answer of the authorizer in time")
	// ErrPublishIdle ends a publisher that sent no byte for too long.
	ErrPublishIdle error = timeoutError("rtmp: publisher sent nothing for too long")
	// ErrFlood ends a client that sends more commands and control messages than
	// Server.MaxCommands.
	ErrFlood = errors.New("rtmp: too many commands in a short time")
	// ErrProtocol is wrapped by the errors of bytes that are no RTMP.
	ErrProtocol = errors.New("rtmp: protocol violation")
)

// errClosedHere stands for the reason of a Handler that gave none.
var errClosedHere error = closedError("rtmp: closed by the server")
