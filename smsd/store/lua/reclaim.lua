-- reclaim: hand out again entries that were claimed but that nobody here knows (a reply was lost, a daemon died).
-- include: clip, damage, entries, identity, lease
-- takes: names, most_octets
-- keys: none
-- answers: older | fenced | {{name, fields, octets}, ...}
-- changes: queue, high
--
-- 'older' where newer data was known, and 'fenced' while another daemon holds the lease: what it is sending is not ours
-- to take for left behind.

local function run(request)
  if is_fenced() then return 'fenced' end
  if is_older() then return 'older' end
  local claimed = {}
  for _, name in ipairs(request.names) do
    local stream, id = stream_of(name)
    need(stream)
    local reply = redis.pcall('XCLAIM', stream, GROUP, CONSUMER, 0, id, 'FORCE')
    if reply.err then
      -- A mark may stand under any name, and one that holds no id of an entry must not stop the rest.
      if string.sub(reply.err, 1, 4) ~= 'ERR ' then error(reply) end
    elseif reply[1] and reply[1][2] then
      claimed[#claimed + 1] = clip(string.sub(name, 1, 1), reply[1], request.most_octets)
    else
      redis.call('XACK', stream, GROUP, id) -- deleted while pending: nothing is left to send
    end
  end
  return claimed
end
