/* clock */
#include "relaypool.h"
