-- claim: hand out entries nobody has read, high priority first.
-- include: clip, damage, fields, identity, lease
-- takes: most_octets, high_room, normal_room
-- keys: none
-- answers: older | fenced | {{name, fields, octets}, ...}
-- changes: queue, high
--
-- 'older' where newer data was known, 'fenced' while another daemon holds the lease: it has looked through what was
-- claimed before. A stream that cannot be read does not keep the other from being claimed.
-- A few are read at a time: entries of many megabytes must not hold Redis up for seconds.

local FEW, MOST_OCTETS = 16, 1000000

local function read(initial, stream, request, room)
  local claimed, octets = {}, 0
  while room > 0 and octets < MOST_OCTETS do
    local few = math.min(room, FEW)
    local reply = redis.call('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', few, 'STREAMS', stream, '>')
    local entries = reply and reply[1][2] or {}
    for _, entry in ipairs(entries) do
      claimed[#claimed + 1] = clip(initial, entry, request.most_octets)
      octets = octets + claimed[#claimed][3]
    end
    room = #entries == few and room - few or 0
  end
  return claimed
end

local function run(request)
  if is_fenced() then return 'fenced' end
  if is_older() then return 'older' end
  local high_wrong, normal_wrong = wrong_type(HIGH, KIND[HIGH]), wrong_type(QUEUE, KIND[QUEUE])
  -- Is the second group there? An error after the first stream was claimed would leave its entries to recovery.
  if request.normal_room > 0 and not normal_wrong then redis.call('XPENDING', QUEUE, GROUP) end
  local claimed = {}
  if not high_wrong then append_all(claimed, read('h', HIGH, request, request.high_room)) end
  if not normal_wrong then append_all(claimed, read('n', QUEUE, request, request.normal_room)) end
  if #claimed == 0 then need(HIGH, QUEUE) end
  return claimed
end
