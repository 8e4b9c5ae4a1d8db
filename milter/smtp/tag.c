/* tag */
#include "relaypool.h"
