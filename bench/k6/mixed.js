// A day's work at once: visitors follow links while others make, change, list and delete links and look at statistics.
// Fails on any error, or when the 95th percentile of redirects is 50 ms or more.
//
//     BOLTLINK_URL=http://127.0.0.1:8000 BOLTLINK_API_KEY=$(cat var/admin-key) k6 run bench/k6/mixed.js
//
// RATE (1,000) redirects a second, for DURATION (5m). The key's limit (BOLTLINK_API_RATE) must allow 20 calls a second.
import http from 'k6/http';
import { check } from 'k6';
import { agents, api, origin, pickByZipf } from './common.js';

const LINKS = Number(__ENV.LINKS || 500);
const RATE = Number(__ENV.RATE || 1000);
const DURATION = __ENV.DURATION || '5m';

export const options = {
  scenarios: {
    visitors: {
      executor: 'constant-arrival-rate',
      exec: 'visit',
      rate: RATE,
      timeUnit: '1s',
      duration: DURATION,
      preAllocatedVUs: 50,
      maxVUs: 500,
    },
    editors: {
      executor: 'constant-arrival-rate',
      exec: 'edit',
      rate: 4,
      timeUnit: '1s',
      duration: DURATION,
      preAllocatedVUs: 4,
      maxVUs: 40,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:visitors}': ['p(95)<50'],
    'http_req_duration{scenario:editors}': ['p(95)<500'],
  },
};

http.setResponseCallback(http.expectedStatuses({ min: 200, max: 302 }));

export function setup() {
  const links = [];
  for (let number = 0; number < LINKS; number += 1) {
    links.push({ target: `https://example.com/${number}`, tags: ['k6'] });
  }
  return { slugs: api('POST', '/api/v1/links/batch', { links }).results.map((row) => row.link.slug) };
}

export function visit(data) {
  const answer = http.get(`${origin}/${pickByZipf(data.slugs)}`, {
    redirects: 0,
    headers: { 'User-Agent': agents[Math.floor(Math.random() * agents.length)] },
    tags: { name: 'redirect' },
  });
  check(answer, { 'redirected': (got) => got.status === 302 });
}

export function edit(data) {
  const { slug } = api('POST', '/api/v1/links', { target: `https://example.org/${Math.random()}`, tags: ['k6'] });
  api('PATCH', `/api/v1/links/${slug}`, { target: `https://example.net/${Math.random()}` });
  api('GET', '/api/v1/links?tag=k6&limit=50');
  api('GET', `/api/v1/links/${pickByZipf(data.slugs)}/stats`);
  api('DELETE', `/api/v1/links/${slug}`);
}

export function teardown(data) {
  for (const slug of data.slugs) {
    api('DELETE', `/api/v1/links/${slug}`);
  }
}
