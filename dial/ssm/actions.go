package ssm

// The actions' requests and answers, as far as we use them (AWS Systems Manager API
// reference, 2014-11-06).

type startSession struct {
	Target       string
	DocumentName string
	Parameters   map[string][]string `json:",omitempty"`
	Reason       string              `json:",omitempty"`
}

// resumeSession is TerminateSession's too.
type resumeSession struct {
	SessionID string `json:"SessionId"`
}

// dataChannel is the answer of StartSession and ResumeSession.
type dataChannel struct {
	SessionID  string `json:"SessionId"`
	StreamURL  string `json:"StreamUrl"`
	TokenValue string
}

type describeInstances struct {
	Filters    []filter `json:",omitempty"`
	MaxResults int      `json:",omitempty"`
	NextToken  string   `json:",omitempty"`
}

type filter struct {
	Key    string
	Values []string
}

type instances struct {
	InstanceInformationList []struct {
		InstanceID       string `json:"InstanceId"`
		Name             string
		ComputerName     string
		IPAddress        string
		PlatformName     string
		PlatformVersion  string
		AgentVersion     string
		PingStatus       string
		LastPingDateTime float64 // seconds since 1970
	}
	NextToken string
}
