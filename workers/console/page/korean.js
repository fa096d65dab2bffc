/** Korean, by the English that stands in the code. `{0}` is the first value of the text. */

const shell = {
  'What to try': '해 볼 것',
  Elsewhere: '다른 곳',
  trace: '추적',
  'What happened': '있었던 일',
  'The newest first; each line leads to its trace, from the request to the push.':
    '최신 것부터. 줄마다 요청에서 푸시까지의 추적으로 이어집니다.',
  'Nothing yet: start a rush, place an order, send money, or order a dish.':
    '아직 없습니다. 쿠폰 러시를 시작하거나, 주문하거나, 송금하거나, 음식을 시켜 보세요.',
  'The server cannot be reached. Try again in a moment.':
    '서버에 연결할 수 없습니다. 잠시 후 다시 시도하세요.',
  'no answer': '응답 없음',
  '{0} s': '{0}초',
};

const shop = {
  'Coupon rush': '쿠폰 러시',
  'Everybody asks at the same moment; the first to be durable win. Outcomes arrive live.':
    '모두가 같은 순간에 요청합니다. 먼저 저장된 요청이 쿠폰을 받고, 결과는 실시간으로 도착합니다.',
  'the push channel could not be opened': '푸시 채널을 열 수 없습니다',
  'Everybody takes a place …': '모두 자리를 잡는 중 …',
  'Go!': '시작!',
  'Coupon {0} issued': '쿠폰 {0} 발급',
  '{0} requests were not accepted: {1}': '요청 {0}건이 접수되지 않음: {1}',
  '{0} coupons for {1} people, {2} answers, and the store agrees.':
    '{1}명에게 쿠폰 {0}장, 응답 {2}건. 저장소의 기록과 일치합니다.',
  '{0} of {1} answers after 30 s; the store says {2} are issued.':
    '30초 뒤 응답 {1}건 중 {0}건. 저장소에는 {2}장이 발급된 것으로 되어 있습니다.',
  'Rush: {0} requests by {1} people for {2} coupons, {3} issued':
    '러시: {1}명이 쿠폰 {2}장에 요청 {0}건, {3}장 발급',
  'has a coupon': '쿠폰 받음',
  'too late': '늦음',
  waiting: '기다림',
  People: '인원',
  'Requests each': '1인당 요청',
  Coupons: '쿠폰 수',
  accepted: '접수됨',
  issued: '발급',
  '{0} of {1}': '{1} 중 {0}',
  'out of stock': '소진',
  'asked twice': '중복 요청',
  'answer pushed, p50': '응답 푸시, p50',
  'Start the rush': '러시 시작',
  'One tile for each person: waiting, got a coupon, or went empty-handed':
    '한 사람에 한 칸: 기다림, 쿠폰 받음, 받지 못함',
  'product {0}': '상품 {0}',
  'Order {0} placed, {1}': '주문 {0} 접수, {1}',
  'Paid: payment {0}': '결제됨: 결제 {0}',
  'The same answer: payment {0}, taken once': '같은 응답: 결제 {0}, 한 번만 결제됨',
  'Order and pay': '주문과 결제',
  'One transaction for payment, order, stock and events.':
    '결제, 주문, 재고, 이벤트가 하나의 트랜잭션입니다.',
  Product: '상품',
  Quantity: '수량',
  'Place and pay': '주문하고 결제',
  'Nothing is on sale.': '판매 중인 상품이 없습니다.',
  'Put five products on sale': '상품 다섯 개 올리기',
  'Send the payment again': '같은 결제 다시 보내기',
  'Pay once more, with a new key': '새 키로 한 번 더 결제',
  'Nothing ordered yet.': '아직 주문이 없습니다.',
  'Best-sellers': '많이 팔린 상품',
  'Counted from the events of paid orders.': '결제된 주문의 이벤트로 집계합니다.',
  'Nothing sold yet.': '아직 팔린 것이 없습니다.',
};

const cluster = {
  'The cluster is asked for.': '클러스터를 읽는 중입니다.',
  Brokers: '브로커',
  Broker: '브로커',
  'All brokers': '모든 브로커',
  'As the worker lag has read it from the cluster; asked for again every 5 seconds while you look.':
    'lag 워커가 클러스터에서 읽은 것입니다. 보고 있는 동안 5초마다 다시 묻습니다.',
  'What is shown is old.': '오래된 내용입니다.',
  'Not all of it could be read for {0} s: a part is old.':
    '{0}초 동안 일부를 읽지 못했습니다. 오래된 내용이 섞여 있습니다.',
  'There is no controller.': '컨트롤러가 없습니다.',
  controller: '컨트롤러',
  State: '상태',
  there: '있음',
  away: '없음',
  Leads: '리더',
  Copies: '사본',
  'In sync': '동기화됨',
  Groups: '컨슈머 그룹',
  Group: '그룹',
  'All groups': '모든 그룹',
  'How far behind each is: records still to be read, and for how long the next of them has been waiting.':
    '그룹마다 얼마나 뒤처졌는지: 아직 읽지 않은 레코드 수와, 그중 다음 레코드가 기다린 시간입니다.',
  'keeps up': '따라가는 중',
  'falls behind': '뒤처지는 중',
  'was set back': '되돌려짐',
  'nobody reads': '읽는 멤버 없음',
  'stands still': '멈춤',
  'not known': '알 수 없음',
  Members: '멤버',
  'Lag, records': '지연, 레코드',
  'Lag, seconds': '지연, 초',
  'There are no groups.': '그룹이 없습니다.',
  Topics: '토픽',
  'Open one to see who leads its partitions, and who has copies of them.':
    '열어 보면 파티션마다 리더와 사본이 어디 있는지 나옵니다.',
  'partitions: {0}': '파티션 {0}개',
  '{0} without a leader': '{0}개에 리더 없음',
  '{0} with a copy that is behind': '{0}개에 뒤처진 사본',
  'all copies in sync': '모든 사본 동기화됨',
  'Partitions of {0}': '{0}의 파티션',
  Partition: '파티션',
  Leader: '리더',
  'Copies on': '사본 위치',
  Behind: '뒤처진 사본',
  'Log start': '로그 시작',
  'Log end': '로그 끝',
  nobody: '없음',
  none: '없음',
};

const promises = {
  Promises: '약속',
  'The promises are asked for.': '약속을 묻는 중입니다.',
  'Checked all the time on the live stores and topics. What nobody has looked at is not checked: silence is not health.':
    '실제 저장소와 토픽에서 늘 확인합니다. 아무도 보지 않은 약속은 확인되지 않은 것입니다. 조용하다고 건강한 것은 아닙니다.',
  '{0} of {1} are checked and hold.': '{1}개 중 {0}개가 확인되었고 지켜지고 있습니다.',
  'All promises': '모든 약속',
  Promise: '약속',
  'Checked at': '확인 시각',
  'Checked every': '확인 주기',
  'Broken after': '깨짐으로 보는 시간',
  'Looked at': '확인 대상',
  holds: '지켜짐',
  'broken {0}×, since {1}': '{0}건 깨짐, {1}부터',
  'not checked; before: {0}': '확인되지 않음. 이전: {0}',
  'not checked': '확인되지 않음',
  never: '없음',
  'at once': '즉시',
};

const pay = {
  '{0}’s money': '{0} 님의 돈',
  'Balance and history, from the ledger as it is now.': '지금 원장에 있는 잔액과 내역입니다.',
  '{0} of it under way': '이 중 {0} 처리 중',
  'the account is being opened': '계좌를 여는 중입니다',
  'the account is {0}': '계좌 상태: {0}',
  Entries: '내역',
  'The newest entries of {0}’s account': '{0} 님 계좌의 최근 내역',
  When: '시각',
  What: '내용',
  With: '상대',
  Who: '누가',
  Amount: '금액',
  Balance: '잔액',
  'Nothing was booked yet.': '아직 기록된 것이 없습니다.',
  '{0} recharged for it': '{0} 자동 충전',
  'Recharge {0}': '충전 {0}',
  'a bank account': '은행 계좌',
  'fee {0}': '수수료 {0}',
  'Send {0} to {1}{2}': '{1}에게 {0} 송금{2}',
  '{0} given back': '{0} 환불',
  'Pay {0} to {1}{2}': '{1}에 {0} 결제{2}',
  'Asked for': '요청한 것',
  'Accepted at once, carried out whatever is down; the end is pushed.':
    '바로 접수되고, 무엇이 멈춰 있어도 끝까지 처리됩니다. 결과는 푸시로 옵니다.',
  'Nothing was asked for yet.': '아직 요청한 것이 없습니다.',
  'my-pay has a contract and an account at bank {0}': 'my-pay가 은행 {0}과 계약하고 계좌를 열었습니다',
  '{0} has registered an account at bank {1} with {2} in it':
    '{0} 님이 {2}이 든 은행 {1} 계좌를 등록했습니다',
  'Recharge {0} of {1} accepted': '충전 {0} 접수, {1}',
  Recharge: '충전',
  'From a registered bank account; the bank outside is a stub with books of its own.':
    '등록한 은행 계좌에서 충전합니다. 바깥 은행은 자기 장부를 가진 스텁입니다.',
  From: '출금 계좌',
  'Amount, ₩': '금액, ₩',
  'Open bank account with {0}': '{0}이 든 은행 계좌 열기',
  'Open another bank account with {0}': '{0}이 든 은행 계좌 하나 더 열기',
  'Payment {0} of {1} accepted': '결제 {0} 접수, {1}',
  'Pay at a shop': '가맹점에서 결제',
  'What a shop was paid is its slip: it can be given back, and is settled with the shop.':
    '결제는 가맹점의 전표가 됩니다. 환불할 수 있고, 가맹점과 정산됩니다.',
  'Pay now': '결제하기',
  At: '가맹점',
  'There is no shop: join as one.': '가맹점이 없습니다. 가맹점으로 가입해 보세요.',
  'Remittance {0} of {1} accepted': '송금 {0} 접수, {1}',
  'own account: {0}': '내 계좌: {0}',
  'Send money': '송금',
  'A saga: every step is a row that a crash resumes, and has a key of its own.':
    '사가: 단계마다 행과 키가 하나씩 있어, 죽어도 그 자리에서 이어집니다.',
  'There is nobody to send to: join as somebody else, or open a bank account.':
    '보낼 곳이 없습니다. 다른 사람으로 가입하거나 은행 계좌를 열어 보세요.',
  Send: '보내기',
  To: '받는 곳',
  'Open a bank account to recharge what is missing': '모자라는 돈을 충전하려면 은행 계좌를 여세요',
  'Recharge what is missing from {0}': '모자라면 {0}에서 충전',
  '{0} given back of {1}': '{1} 중 {0} 환불',
  '{0} from {1}': '{1}에게서 {0}',
  '{0} from {1}, {2}': '{1}에게서 {0}, {2}',
  'Refund {0} of {1} accepted': '환불 {0} 접수, {1}',
  Sales: '매출',
  'Given back in parts or as a whole, and never more than was paid.':
    '일부 또는 전부를 환불할 수 있고, 결제한 금액을 넘지 않습니다.',
  Payment: '결제',
  'Give back': '환불',
  'Nothing was sold yet.': '아직 팔린 것이 없습니다.',
  'Staff settles with all shops: run {0}': '직원이 모든 가맹점과 정산: {0}회차',
  'Staff tries a settlement again': '직원이 정산을 다시 시도',
  Settlement: '정산',
  'What was paid less what was given back and our commission, in one transfer to the shop’s newest bank account: each midnight, or when staff says so.':
    '결제에서 환불과 수수료를 뺀 금액을 가맹점의 최근 은행 계좌로 한 번에 이체합니다. 매일 자정에, 또는 직원이 지시할 때.',
  'Settle now': '지금 정산',
  Settlements: '정산 내역',
  'The newest settlements of the shop': '가맹점의 최근 정산',
  Run: '회차',
  Paid: '결제액',
  'Given back': '환불액',
  Commission: '수수료',
  'To the bank': '이체액',
  'Nothing was settled yet.': '아직 정산이 없습니다.',
  'Try again': '다시 시도',
  Ledger: '원장',
  'For staff: the newest transfers of everybody. Each has a debit and a credit of one amount, so every sum is zero.':
    '직원용: 모두의 최근 이체. 이체마다 같은 금액의 차변과 대변이 있어 합계는 언제나 0입니다.',
  Transfers: '이체',
  'The newest transfers with both sides': '양쪽이 모두 보이는 최근 이체',
  Booked: '기록 시각',
  Debit: '차변',
  Credit: '대변',
  Sum: '합계',
  ', taken back': ', 취소됨',
  'All of these, in {0}': '이 모두, {0}',
  'nobody of ours': '우리 서비스 아님',
  'decided it; it is not on its topic yet': '결정함. 아직 토픽에 없음',
  'produced it': '발행함',
  'handled it: {0}': '처리함: {0}',
  'has not handled it': '아직 처리하지 않음',
  Messages: '메시지',
  'For staff: what became of a message between services. How a recharge or a remittance ended is told under its id and “-decided”.':
    '직원용: 서비스 사이의 메시지가 어떻게 되었는지. 충전이나 송금의 결과는 그 id에 “-decided”를 붙인 id로 알려집니다.',
  'Id of the message': '메시지 id',
  Find: '찾기',
  'Message on {0}': '{0}의 메시지',
  '{0} has joined my-pay': '{0} 님이 my-pay에 가입했습니다',
  'Nobody has joined from this browser yet. Join as two people, and send money from one to the other.':
    '이 브라우저에서 가입한 사람이 없습니다. 두 사람으로 가입해 서로 송금해 보세요.',
  'Members who have joined from this browser; my-pay itself knows them by pseudonyms only.':
    '이 브라우저에서 가입한 회원들입니다. my-pay는 이들을 가명으로만 압니다.',
  'Who you are': '누구로 할지',
  Play: '역할',
  '{0} (shop)': '{0} (가맹점)',
  'Forget {0}': '{0} 지우기',
  'E-mail': '이메일',
  Password: '비밀번호',
  Name: '이름',
  As: '종류',
  'a person': '개인',
  'a shop': '가맹점',
  'Log in': '로그인',
  Join: '가입',
  'Join as somebody new': '새로 가입',
  'Log in as a member': '회원으로 로그인',
  recharge: '충전',
  remittance: '송금',
  payment: '결제',
  'refund of {0}': '{0} 환불',
  'Pushed to {0}: {1} {2} of {3} is {4}{5}': '{0} 님에게 푸시: {1} {2}, {3}, {4}{5}',
};

const food = {
  'A shop has opened, and a rider is on duty': '가게가 문을 열었고 라이더가 근무를 시작했습니다',
  'Food delivery': '음식 배달',
  'You are all three: order, cook, deliver. Each phone is pushed what its person is told; nothing is asked for on a timer.':
    '주문하고, 요리하고, 배달하는 세 역할을 모두 합니다. 폰마다 그 사람이 받을 소식이 푸시됩니다. 주기적으로 묻지 않습니다.',
  'Open a shop with three dishes and a rider': '음식 세 가지와 라이더가 있는 가게 열기',
  'Begin anew': '처음부터',
  'Order {0} placed: {1}': '주문 {0} 접수: {1}',
  Customer: '고객',
  'Orders, follows, complains.': '주문하고, 지켜보고, 불만을 말합니다.',
  '{0} left': '{0}개 남음',
  Order: '주문',
  'The customer has cancelled': '고객이 취소했습니다',
  Cancel: '취소',
  'The customer calls again': '고객이 라이더를 다시 부릅니다',
  'Call again': '다시 부르기',
  'The customer complains': '고객이 불만을 접수했습니다',
  'Something is wrong?': '문제가 있나요?',
  Photo: '사진',
  'What is wrong': '무엇이 문제인가요',
  'It came cold': '식어서 왔어요',
  'You want': '원하는 것',
  'the money back': '환불',
  'the dish once more': '다시 배달',
  Complain: '접수',
  'Until {0}, ten minutes after it was delivered.': '{0}까지, 배달된 지 10분 안에만.',
  Accept: '수락',
  'The owner has accepted': '사장님이 수락했습니다',
  Cook: '요리',
  'The owner cooks': '사장님이 요리합니다',
  'Cook again': '다시 요리',
  'The owner cooks again': '사장님이 다시 요리합니다',
  'Call a rider': '라이더 부르기',
  'The owner calls a rider': '사장님이 라이더를 부릅니다',
  Approve: '승인',
  'The owner approves': '사장님이 승인했습니다',
  'The owner rejects': '사장님이 거절했습니다',
  Owner: '사장님',
  'Accepts, cooks, calls a rider, decides on complaints.':
    '수락하고, 요리하고, 라이더를 부르고, 불만을 처리합니다.',
  'No orders yet.': '아직 주문이 없습니다.',
  'Wants the money back.': '환불을 원합니다.',
  'Wants the dish once more.': '다시 배달을 원합니다.',
  'Or why not': '거절한다면 이유',
  'It was hot': '뜨거웠어요',
  Reject: '거절',
  'The rider is off duty': '라이더가 근무를 마쳤습니다',
  'The rider is on duty': '라이더가 근무 중입니다',
  Rider: '라이더',
  'Has delivered a second after getting an order, or on saying so earlier.':
    '주문을 받고 1초 뒤, 또는 먼저 알리면 그때 배달이 끝납니다.',
  'On duty in {0}': '{0}에서 근무 중',
  'No order was his yet.': '아직 맡은 주문이 없습니다.',
  'The rider leaves': '라이더가 출발했습니다',
  Leave: '출발',
  'The rider has delivered': '라이더가 배달했습니다',
  Delivered: '배달 완료',
  'What is told: {0}': '받은 소식: {0}',
  'Nothing was told yet.': '아직 소식이 없습니다.',
  placed: '주문됨',
  'being cooked': '요리 중',
  'looking for a rider': '라이더 찾는 중',
  'a rider has it': '라이더가 받음',
  'on its way': '배달 중',
  delivered: '배달됨',
  'no rider is free': '가능한 라이더 없음',
  'cancelled, money back': '취소, 환불됨',
  'complaint under review': '불만 검토 중',
  refunded: '환불됨',
  'complaint rejected': '불만 거절됨',
  'will be cooked again': '다시 요리 예정',
  'The photo cannot be shown.': '사진을 볼 수 없습니다.',
  'What the customer complains about': '고객이 문제 삼은 것',
};

/** What is said in the code. */
export const korean = { ...shell, ...shop, ...cluster, ...promises, ...pay, ...food };

/** Of tabs. */
const titles = {
  Shop: '쇼핑',
  Pay: '페이',
  Food: '배달',
  Dashboards: '대시보드',
  Traces: '추적',
  Cluster: '클러스터',
};

const states = {
  done: '완료',
  failed: '실패',
  requested: '접수됨',
  asking: '은행에 요청 중',
  'at bank': '은행 처리 중',
  transfer: '이체',
  hold: '보류',
  stopped: '멈춤',
  carried: '이월',
  waiting: '기다림',
  success: '성공',
  suspended: '정지',
  closed: '닫힘',
  'money short': '잔액 부족',
  'bank down': '은행 장애',
  'account not open': '계좌가 열려 있지 않음',
};

/** The sentences of catalog/promises.ts. */
const promised = {
  'MySQL and Redis take writes.': 'MySQL과 Redis에 쓸 수 있다.',
  'What was committed with a decision is published.': '결정과 함께 커밋된 것은 발행된다.',
  'A timer whose time has come is published.': '때가 된 타이머는 발행된다.',
  'Each accepted request for a coupon is decided.': '접수된 쿠폰 요청은 모두 결정된다.',
  'Of each coupon as many are issued as people hold, and never more than there are.':
    '쿠폰마다 발급 수는 가진 사람 수와 같고, 준비한 수를 넘지 않는다.',
  'Who was told SUCCESS holds the coupon, and who holds one was told so.':
    'SUCCESS라고 들은 사람은 쿠폰을 가지고 있고, 가진 사람은 그렇게 들었다.',
  'Each decision is on the topic of results.': '결정은 모두 결과 토픽에 있다.',
  'Each COMPLETED order has one payment of its amount, and each payment a COMPLETED order.':
    'COMPLETED 주문마다 같은 금액의 결제가 하나 있고, 결제마다 COMPLETED 주문이 있다.',
  'The three events of each payment are in the event log and on their topics.':
    '결제마다 세 이벤트가 이벤트 로그와 토픽에 있다.',
  'An order that nobody pays in time expires.': '제때 결제하지 않은 주문은 만료된다.',
  'Of each product what was put in, less what was sold, is what is left.':
    '상품마다 넣은 수에서 팔린 수를 빼면 남은 수다.',
  'The ranking of products is the sum of the paid orders.': '상품 순위는 결제된 주문의 합이다.',
  'Each event for systems outside is taken, or given up and told.':
    '외부 시스템으로 가는 이벤트는 전달되거나, 포기하고 그 사실을 알린다.',
  'Each purchase that came by the API or by log files has its answer.':
    'API나 로그 파일로 온 구매마다 답이 있다.',
  'All balances of a currency sum to zero.': '통화마다 모든 잔액의 합은 0이다.',
  'Each transfer has its debit and its credit, and each entry the balance that follows from the one before it.':
    '이체마다 차변과 대변이 있고, 내역마다 앞 내역에서 이어지는 잔액이 있다.',
  'Each account has what its entries sum to, holds what its holds sum to, and no member is below zero.':
    '계좌의 잔액은 내역의 합, 보류액은 보류의 합이며, 0 아래인 회원은 없다.',
  'Each log line of a process is in the log store, or counted as dropped by the line after it.':
    '프로세스의 로그 줄은 모두 로그 저장소에 있거나, 다음 줄이 버려졌다고 센다.',
  'The last change of each member that others are to hear of is on member-events.':
    '알려야 할 회원의 마지막 변경은 member-events에 있다.',
  'Each member has an account in the state that follows from theirs: active OPEN, suspended SUSPENDED, left CLOSED once it is empty.':
    '회원마다 상태에 맞는 계좌가 있다: 활동 중 OPEN, 정지 SUSPENDED, 탈퇴하면 비는 대로 CLOSED.',
  'Each accepted recharge is DONE or FAILED, or waits for a bank that is known to be down.':
    '접수된 충전은 DONE이나 FAILED가 되거나, 장애로 알려진 은행을 기다린다.',
  'What a bank has taken from a member for us is booked for that member once, and nothing else is.':
    '은행이 우리를 위해 회원에게서 출금한 것은 그 회원에게 한 번만 기록되고, 그 밖의 기록은 없다.',
  'Each accepted remittance is DONE or FAILED, or waits for a bank that is known to be down.':
    '접수된 송금은 DONE이나 FAILED가 되거나, 장애로 알려진 은행을 기다린다.',
  'Each accepted payment and refund is DONE or FAILED, or waits for a bank that is known to be down.':
    '접수된 결제와 환불은 DONE이나 FAILED가 되거나, 장애로 알려진 은행을 기다린다.',
  'What is refunded of a payment is never more than what was paid.': '환불액은 결제액을 넘지 않는다.',
  'Each payment and refund that is DONE is in the books of money once, with its amount, and nothing else is there.':
    'DONE인 결제와 환불은 money의 장부에 그 금액으로 한 번만 있고, 그 밖의 것은 없다.',
  'Each payment and refund that is DONE is a slip of settlement, with its merchant and amount, and nothing else is.':
    'DONE인 결제와 환불은 가맹점과 금액이 같은 정산 전표이고, 그 밖의 전표는 없다.',
  'Each period that has ended is closed, and its slips are summed up.':
    '끝난 기간은 마감되고 전표가 합산된다.',
  'Each settlement is DONE or CARRIED, or STOPPED and told to staff, or waits for a bank that is known to be down or for its next day.':
    '정산은 DONE이나 CARRIED가 되거나, STOPPED로 직원에게 알려지거나, 장애로 알려진 은행이나 은행의 다음 날을 기다린다.',
  'Each slip of a closed period is in the settlement of its merchant, and in no other.':
    '마감된 기간의 전표는 그 가맹점의 정산에만 있다.',
  'What a settlement that is DONE says was paid out by a bank, and booked with the commission, to the unit.':
    'DONE인 정산의 금액은 은행이 지급했고, 수수료와 함께 한 단위까지 맞게 기록되었다.',
  'An order that is called for gets a rider or is told that there is none, and its delivery ends.':
    '라이더를 부른 주문은 라이더를 얻거나 없다고 듣고, 배달은 끝난다.',
  'Each rider is free, off, or with one order that is under way, and each such order has its rider.':
    '라이더는 비어 있거나, 쉬거나, 진행 중인 주문 하나를 맡고, 그런 주문마다 라이더가 있다.',
  'Each change of an order was told its customer.': '주문의 모든 변경은 고객에게 알려졌다.',
  'Each accepted firm banking is EXECUTED or REJECTED, or waits for a bank that is known to be down.':
    '접수된 펌뱅킹은 EXECUTED나 REJECTED가 되거나, 장애로 알려진 은행을 기다린다.',
  'What we hold as EXECUTED or REJECTED is what the books of the banks say, compared daily.':
    'EXECUTED나 REJECTED로 아는 것은 은행 장부와 같다. 날마다 대조한다.',
};

/** What their ids are of. */
const idsOf = {
  'the store': '저장소',
  'the database and the row of its outbox': '데이터베이스와 그 아웃박스의 행',
  'the request': '요청',
  'the coupon': '쿠폰',
  'the request, or the row of the history': '요청 또는 발급 내역의 행',
  'the order, or the payment': '주문 또는 결제',
  'the event (order id and kind), or the payment': '이벤트(주문 id와 종류) 또는 결제',
  'the order': '주문',
  'the product': '상품',
  'the event': '이벤트',
  'the purchase (pseudonym and purchase id)': '구매(가명과 구매 id)',
  'the currency': '통화',
  'the transfer': '이체',
  'the account (pseudonym, or name of ours)': '계좌(가명 또는 우리 이름)',
  'the life of a process, with the numbers of its lines': '프로세스의 한 번의 실행과 줄 번호',
  'the event (pseudonym and version)': '이벤트(가명과 버전)',
  'the account (pseudonym)': '계좌(가명)',
  'the recharge': '충전',
  'the firm banking': '펌뱅킹',
  'the remittance': '송금',
  'the payment or refund': '결제 또는 환불',
  'the payment': '결제',
  'the transfer of the books': '장부의 이체',
  'the period, which is the number of its run': '기간(회차 번호)',
  'the settlement': '정산',
  'the run and the merchant (pseudonym)': '회차와 가맹점(가명)',
  'the rider (pseudonym)': '라이더(가명)',
  'the order and its version': '주문과 버전',
  'the transfer, as the bank names it': '이체(은행이 부르는 이름)',
};

/** What comes as data. */
export const koreanOfData = { ...titles, ...states, ...promised, ...idsOf };
