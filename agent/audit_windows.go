package agent

const nonblocking = 0

// hasModes says whether files have permissions that tell others apart.
const hasModes = false
