-- letters: a page of dead letters; of one that is too large, its short fields alone.
-- include: clip, damage, fields, last_ids
-- takes: read, start, stop, count, most_octets
-- keys: none
-- answers: {{id, fields}, ...}
-- changes: none
--
-- Read one by one, up to so many octets: letters of many megabytes must not hold Redis up for seconds.

local MOST_OCTETS = 250000
local SHORT, MOST_SHORT = 1024, 50

-- The last come first: they are ours, and say why it died.
local function short_fields(fields)
  local short = {}
  for i = #fields - 1, 1, -2 do
    local name, value = fields[i], fields[i + 1]
    if #name <= SHORT and #value <= SHORT and #short < 2 * MOST_SHORT then append_all(short, {name, value}) end
  end
  return short
end

local function run(request)
  need(DEAD)
  local page, octets, start = {}, 0, request.start
  while #page < request.count and octets < MOST_OCTETS and start ~= '(' .. LAST_ID do
    local letter = redis.call(request.read, DEAD, start, request.stop, 'COUNT', 1)[1]
    if not letter then break end
    local clipped = clip('', letter, request.most_octets)
    page[#page + 1] = {letter[1], clipped[2] or short_fields(letter[2])}
    octets, start = octets + clipped[3], '(' .. letter[1]
  end
  return page
end
