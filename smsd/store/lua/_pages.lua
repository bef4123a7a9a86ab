-- _pages: contacts in the order of their hash values, some at a time.
-- include: audience
--
-- That order is the same in all versions of an audience: whoever goes on while contacts come and go, or the audience is
-- replaced, meets each one once that was there all the time. Those with the same hash value stay together. A page holds
-- fewer than asked for where they are large, and where many buckets hold none.

local MOST_READ = 50 -- many may be empty
local MOST_OCTETS = 100000

local function in_order(version, contacts, at, wanted)
  local found = {}
  for i = 1, #contacts, 2 do
    local hash = wanted(contacts[i + 1]) and is_number(contacts[i]) and hash_of(version, contacts[i])
    if hash and hash >= at then found[#found + 1] = {hash, contacts[i], contacts[i + 1]} end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found
end

local function is_full(page, most) return #page >= 2 * most or page.octets >= MOST_OCTETS end

-- Adds those from `at` on to the page; where it goes on.
local function read_bucket(version, at, page, most, wanted)
  local first, span = bounds_of(version, at)
  local last
  for _, contact in ipairs(in_order(version, redis.call('HGETALL', bucket_from(version, first)), at, wanted)) do
    if is_full(page, most) and contact[1] ~= last then return contact[1] end
    page[#page + 1], page[#page + 2], last = contact[2], contact[3], contact[1]
    page.octets = page.octets + #contact[3]
  end
  return first + span
end

-- Where to go on, -1 at the end, and a flat list of numbers and values: those that are `wanted`.
local function page_from(version, at, most, wanted)
  local page, buckets = {octets = 0}, 0
  while not is_full(page, most) and at < RANGE and buckets < MOST_READ do
    at, buckets = read_bucket(version, at, page, most, wanted), buckets + 1
  end
  return at < RANGE and at or -1, page
end
