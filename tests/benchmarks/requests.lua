-- Replays a file of complete HTTP requests, separated by \1, from a given one on. Arguments: file, first, cycle or once.
-- Prints one line of JSON at the end. Times are in microseconds.
local thread

function setup(new_thread)
  thread = new_thread
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  requests = {}
  for text in file:read("*a"):gmatch("[^\1]+") do
    requests[#requests + 1] = text
  end
  file:close()
  position, cycle = tonumber(arguments[2]), arguments[3] == "cycle"
  sent, exhausted = -1, 0 -- wrk makes one request that it does not send, to look at it
  first = requests[position % #requests + 1]
end

function request()
  sent = sent + 1
  if sent == 0 then
    return first
  end
  if not cycle and position >= #requests then
    exhausted = 1
    return requests[#requests]
  end
  position = position + 1
  return requests[(position - 1) % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"completed":%d,"microseconds":%d,"p50":%d,"p99":%d,"rejected":%d,"broken":%d,"sent":%d,"exhausted":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, thread:get("sent"), thread:get("exhausted")
  ))
end
